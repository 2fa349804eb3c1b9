"""Gate 3: the bytes are what was declared, of a type the job takes, and decode fully. Rejected without a strike."""

from collections.abc import Iterator

from ingest.formats import MEDIA_TYPES
from quality.facts import Finding, SubmissionFacts

NAME, VERSION = "bytes", "1"


def check(facts: SubmissionFacts) -> Iterator[Finding]:
    for media in facts.media:
        if media.broken is not None:
            yield Finding(
                NAME,
                VERSION,
                "reject",
                media.broken["code"],
                measured=media.broken["measured"],
                limit=media.broken["limit"],
                feedback=media.broken["detail"],
                media_id=media.media_id,
            )
        elif media.facts and not set(MEDIA_TYPES[media.facts.format]) & set(facts.limits.accepted_formats):
            yield Finding(
                NAME,
                VERSION,
                "reject",
                "type_not_accepted",
                measured=media.facts.media_type,
                limit=list(facts.limits.accepted_formats),
                feedback=f"This job takes {', '.join(facts.limits.accepted_formats)}; the file is {media.facts.media_type}.",
                media_id=media.media_id,
            )
        elif media.facts:
            yield Finding(
                NAME,
                VERSION,
                "pass",
                "intact",
                measured=f"{media.facts.format}, {media.facts.size} bytes",
                media_id=media.media_id,
            )
