"""What gates and scorers look at: plain values, gathered once per submission."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from ingest.probe import Facts
from jobs.geo import Area

Outcome = Literal["pass", "reject", "review", "signal"]


@dataclass(frozen=True)
class Neighbour:
    """
    An earlier file that looks alike: Hamming distance of the PDQ hashes (0..256), correlation of the overlap (0..1).

    `standing` is the state of the submission it belongs to, or `same` for another file of the very same submission. Rejected
    ones are named only where they may have crowded out others.
    """

    media_id: UUID
    distance: int
    correlation: float
    mirrored: bool
    standing: Literal["approved", "pending", "in_review", "rejected", "same"]


@dataclass(frozen=True)
class MediaFacts:
    """One file: what was measured, or what is broken; whose bytes and looks it repeats."""

    media_id: UUID
    facts: Facts | None
    broken: dict[str, Any] | None = None
    copy_of: UUID | None = None
    neighbours: tuple[Neighbour, ...] = ()


@dataclass(frozen=True)
class JobLimits:
    """What the job asks of a file."""

    accepted_formats: tuple[str, ...]
    min_star_rating: int = 3
    min_width: int | None = None
    min_height: int | None = None
    area: Area | None = None


@dataclass(frozen=True)
class SubmissionFacts:
    """
    One submission, whole. `position` is the evidence kept at hand-in, `claim_position` that of the claim, `trust` the
    device's tier A to D.
    """

    limits: JobLimits
    media: tuple[MediaFacts, ...]
    trust: str
    position: dict[str, Any] = field(default_factory=dict)
    claim_position: dict[str, Any] = field(default_factory=dict)
    claimed_at: datetime | None = None
    attempt: int = 1


@dataclass(frozen=True)
class Finding:
    """
    What a gate said of a submission (or of one of its files): the measured value, the limit, and words for the worker.
    A passing gate says so too, with what it measured.
    """

    gate: str
    version: str
    outcome: Outcome
    code: str
    measured: Any = None
    limit: Any = None
    feedback: str = ""
    media_id: UUID | None = None
    shadow: bool = False
