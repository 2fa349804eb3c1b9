"""Findings and scores as they are kept: every verdict can be explained from these rows, and replayed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from infra import ids
from quality.facts import Finding
from quality.models import FindingRow, ScoreRow
from quality.scorers import Scores


def keep(session: Session, submission_id: UUID, said: Sequence[Finding], *, now: datetime) -> None:
    """Write down what the gates said; a second run changes nothing."""
    if said:
        rows = [
            {
                "id": ids.new(),
                "submission_id": submission_id,
                "created_at": now,
                **{name: getattr(finding, name) for name in Finding.__dataclass_fields__},
            }
            for finding in said
        ]
        session.execute(insert(FindingRow).values(rows).on_conflict_do_nothing())


def keep_scores(
    session: Session, submission_id: UUID, scores: Mapping[UUID, Sequence[Scores]], *, now: datetime
) -> None:
    """Write down what the scorers said of each file; a second run changes nothing."""
    rows = [
        {
            "id": ids.new(),
            "submission_id": submission_id,
            "media_id": media_id,
            "scorer": score.scorer,
            "version": score.version,
            "dimensions": score.as_json()["dimensions"],
            "abstains": dict(score.abstains),
            "created_at": now,
        }
        for media_id, given in scores.items()
        for score in given
    ]
    if rows:
        session.execute(insert(ScoreRow).values(rows).on_conflict_do_nothing())


def of_submission(session: Session, submission_id: UUID) -> list[FindingRow]:
    """What the gates said, in their order."""
    return list(
        session.scalars(select(FindingRow).where(FindingRow.submission_id == submission_id).order_by(FindingRow.id))
    )


def scores_of(session: Session, submission_id: UUID) -> list[dict[str, Any]]:
    """What the scorers said of each file."""
    rows = session.scalars(select(ScoreRow).where(ScoreRow.submission_id == submission_id).order_by(ScoreRow.id))
    return [
        {
            "media": ids.show("med", row.media_id),
            "scorer": row.scorer,
            "version": row.version,
            "dimensions": row.dimensions,
        }
        for row in rows
    ]
