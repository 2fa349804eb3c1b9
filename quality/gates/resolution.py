"""Gate 5: the floor of width and height, after the rotation Exif asks for. One star shown, no charge, no strike."""

from collections.abc import Iterator

from quality.facts import Finding, SubmissionFacts

NAME, VERSION = "resolution", "1"


def check(facts: SubmissionFacts) -> Iterator[Finding]:
    limits = facts.limits
    floor = f"{limits.min_width or 1}x{limits.min_height or 1}"
    for media in facts.media:
        if media.facts is None:
            continue
        width, height = media.facts.width, media.facts.height
        small = width < (limits.min_width or 1) or height < (limits.min_height or 1)
        yield Finding(
            NAME,
            VERSION,
            "reject" if small else "pass",
            "too_small" if small else "large_enough",
            measured=f"{width}x{height}",
            limit=floor,
            feedback=f"The photo is {width} x {height} pixels; this job needs at least {floor.replace('x', ' x ')}. "
            "Set the camera to full resolution and do not crop."
            if small
            else "",
            media_id=media.media_id,
        )
