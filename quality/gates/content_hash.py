"""Gate 4: the same bytes by the same worker on the same job. Rejected without a strike."""

from collections.abc import Iterator

from infra import ids
from quality.facts import Finding, SubmissionFacts

NAME, VERSION = "content_hash", "1"


def check(facts: SubmissionFacts) -> Iterator[Finding]:
    for media in facts.media:
        if media.copy_of is not None:
            yield Finding(
                NAME,
                VERSION,
                "reject",
                "exact_copy",
                measured=ids.show("med", media.copy_of),
                feedback="You have sent this very file for this job before. Take a new photo.",
                media_id=media.media_id,
            )
        elif media.facts:
            yield Finding(NAME, VERSION, "pass", "new_bytes", measured=media.facts.sha256[:16], media_id=media.media_id)
