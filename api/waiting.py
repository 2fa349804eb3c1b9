"""Long polls: `Prefer: wait=N` (RFC 7240) holds an answer until it differs from the one known, or N seconds passed."""

import asyncio
import re
from collections.abc import Callable

from litestar.concurrency import sync_to_thread

from api import answers
from api.answers import Answer, AnyRequest

LONGEST = 60  # seconds
PAUSE = 0.5  # seconds between two looks; no session or thread is held meanwhile
AT_ONCE = 64  # waiting requests of this process; a preference may be declined, so further ones are answered at once

_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,5})\"?\s*(?:$|[,;])", re.IGNORECASE)
_waiting = 0


def seconds(request: AnyRequest) -> int:
    """How long the caller would wait, 0 if not at all."""
    found = _WAIT.search(request.headers.get("prefer", ""))
    return min(LONGEST, int(found.group(1))) if found else 0


async def for_change(request: AnyRequest, first: Answer, known: str | None, look: Callable[[], Answer]) -> Answer:
    """
    The first answer that differs from the one the caller knows (from `first`, if they named none), or the last one.

    :param look: makes the answer anew; run in the thread pool, authenticating again each time
    """
    global _waiting
    wait = seconds(request)
    if not wait or _waiting >= AT_ONCE or first.status != 200:
        return first
    known = known or first.etag
    answer = first
    loop = asyncio.get_running_loop()
    until = loop.time() + wait
    _waiting += 1
    try:
        while answers.same_body(answer, known) and (left := until - loop.time()) > 0:
            await asyncio.sleep(min(PAUSE, left))
            answer = await sync_to_thread(look)
    finally:
        _waiting -= 1
    return answer.with_headers(Preference_Applied=f"wait={wait}")
