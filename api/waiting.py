"""Long polls: `Prefer: wait=N` (RFC 7240) holds an answer until it differs from the one known, or N seconds passed."""

import asyncio
import re
from collections import Counter
from collections.abc import Callable

from litestar.concurrency import sync_to_thread

from api import answers
from api.answers import Answer, AnyRequest

LONGEST = 60  # seconds
PAUSE = 0.5  # seconds before the first look; no session or thread is held meanwhile
LONGEST_PAUSE = 2.0  # between two looks, after ever longer ones
AT_ONCE = 64  # waiting requests of this process; a preference may be declined, so further ones are answered at once
PER_CALLER = 4  # of those, so that nobody holds all

_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,5})\"?\s*(?:$|[,;])", re.IGNORECASE)
_waiting: Counter[str] = Counter()


def seconds(request: AnyRequest) -> int:
    """How long the caller would wait, 0 if not at all."""
    found = _WAIT.search(request.headers.get("prefer", ""))
    return min(LONGEST, int(found.group(1))) if found else 0


async def for_change(
    request: AnyRequest, caller: str, first: Answer, known: str | None, look: Callable[[], Answer]
) -> Answer:
    """
    The first answer that differs from the one the caller knows (from `first`, if they named none), or the last one. Ends
    when nobody listens any more.

    :param caller: under what the waiting ones are counted
    :param look: makes the answer anew; run in the thread pool, authenticating again each time
    """
    wait = seconds(request)
    if not wait or _waiting.total() >= AT_ONCE or _waiting[caller] >= PER_CALLER or first.status != 200:
        return first
    known = known or first.etag
    answer, pause = first, PAUSE
    loop = asyncio.get_running_loop()
    until = loop.time() + wait
    _waiting[caller] += 1
    gone = loop.create_task(_disconnected(request))
    try:
        while answers.same_body(answer, known) and (left := until - loop.time()) > 0:
            if (await asyncio.wait([gone], timeout=min(pause, left)))[0]:
                break
            pause = min(pause * 1.5, LONGEST_PAUSE)
            answer = await sync_to_thread(look)
    finally:
        gone.cancel()
        _waiting.subtract([caller])
        if not _waiting[caller]:
            del _waiting[caller]
    return answer.with_headers(Preference_Applied=f"wait={wait}")


async def _disconnected(request: AnyRequest) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
