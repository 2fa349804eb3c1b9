"""
Pages: newest first, by id, with an opaque cursor.

A cursor is the place after the last row seen, so rows that come in meanwhile neither repeat nor hide others. It is checked
but not signed: whoever makes one up reads only what they may read anyway.
"""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from pydantic import Field
from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from api.schemas import Page
from infra.errors import Invalid

Limit = Annotated[int, Field(ge=1, le=100, description="rows of one page")]
Cursor = Annotated[str, Field(max_length=500, description="`next_cursor` of the page before")]

Row = TypeVar("Row")
View = TypeVar("View")


class BadCursor(Invalid):
    """This cursor is not one of ours."""


@dataclass(frozen=True)
class Found(Generic[Row]):
    """One page of rows."""

    rows: Sequence[Row]
    next_cursor: str | None

    def shown(self, show: Callable[[Row], View]) -> Page[Any]:
        """As it goes over the wire."""
        return Page[Any](
            data=[show(row) for row in self.rows], has_more=self.next_cursor is not None, next_cursor=self.next_cursor
        )


def page(
    session: Session,
    select: Select[Row],
    id: InstrumentedAttribute[UUID],
    cursor: str | None,
    limit: int,
) -> Found[Row]:
    """
    The rows of one page, newest first.

    :param select: what to list, of one entity, without order or limit
    :param id: its UUIDv7 column, which sorts by creation
    :raises BadCursor: not one that this list gave
    """
    if cursor is not None:
        (place,) = read(cursor, 1)
        select = select.where(id < uuid(place))
    rows = session.scalars(select.order_by(id.desc()).limit(limit + 1)).all()
    more = len(rows) > limit
    rows = rows[:limit]
    return Found(rows, write([str(getattr(rows[-1], id.key))]) if more else None)


def write(place: Sequence[Any]) -> str:
    """A cursor for a place: a few plain JSON values."""
    text = json.dumps(list(place), separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def read(cursor: str, length: int) -> list[Any]:
    """
    The place behind a cursor; its values are still whatever somebody sent.

    :raises BadCursor: damaged, or of another list
    """
    try:
        place = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error):
        raise BadCursor("Send `next_cursor` of the page before as it was.") from None
    if not isinstance(place, list) or len(place) != length:
        raise BadCursor("It belongs to another list.")
    return place


def uuid(value: Any) -> UUID:
    """
    A UUID out of a cursor.

    :raises BadCursor: it is none
    """
    try:
        return UUID(value)
    except (ValueError, TypeError, AttributeError):
        raise BadCursor("It belongs to another list.") from None
