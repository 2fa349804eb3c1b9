"""
Scorers: each gives stars on the dimensions it can judge, and abstains on the others. One file per scorer.

A scorer is a function from facts to `Scores`. It has a name and a version; a change of thresholds is a new version, so that
a verdict can always be explained with the rules it was made by.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from ingest.probe import Facts

Dimension = Literal["relevance", "quality", "completeness"]

DIMENSIONS: Final[tuple[Dimension, ...]] = ("relevance", "quality", "completeness")


@dataclass(frozen=True, slots=True)
class Brief:
    """What a scorer may know of the job: what the buyer asked for, in the buyer's words."""

    title: str
    description: str
    worker_guidelines: str = ""
    scoring_criteria: str = ""


@dataclass(frozen=True, slots=True)
class Rating:
    """
    Stars on one dimension. ``value`` is the same before rounding. Below 5 stars ``reason`` is a stable code and ``feedback``
    tells the worker what to do differently. ``measured`` and ``limit``: the number behind the reason, and what it had to be
    for 4 stars (for 5, where it has 4).
    """

    stars: int
    value: float
    reason: str | None = None
    feedback: str | None = None
    measured: float | None = None
    limit: float | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "stars": self.stars,
            "value": self.value,
            "reason": self.reason,
            "feedback": self.feedback,
            "measured": self.measured,
            "limit": self.limit,
        }


@dataclass(frozen=True, slots=True)
class Scores:
    """What one scorer says; ``abstains`` names the dimensions it does not judge, and why."""

    scorer: str
    version: str
    dimensions: Mapping[Dimension, Rating]
    abstains: Mapping[Dimension, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "scorer": self.scorer,
            "version": self.version,
            "dimensions": {name: rating.as_json() for name, rating in self.dimensions.items()},
            "abstains": dict(self.abstains),
        }


class Scorer(Protocol):
    def __call__(self, facts: Facts, brief: Brief) -> Scores: ...
