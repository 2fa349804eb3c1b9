"""
What goes over the wire: the base of every request and response, lists, ids, timestamps.

Handlers and their schemas stand in one file; this one holds only what all of them share.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from infra import ids

T = TypeVar("T")


class Model(BaseModel):
    """
    Base of requests and responses: unknown members are refused, values never change, numbers are finite.

    Text that PostgreSQL cannot store (NUL, lone surrogates) is refused for the whole request by `unstorable`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Page(Model, Generic[T]):
    """One page of a list, newest first. `next_cursor` asks for the page after it."""

    object: Literal["list"] = "list"
    data: list[T]
    has_more: bool = False
    next_cursor: str | None = None


@dataclass(frozen=True)
class Shown:
    """
    A UUID that the API shows with a prefix: `JobId = Annotated[UUID, Shown("job")]` reads and writes `job_01j…`.
    """

    prefix: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._read,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda id: ids.show(self.prefix, id), return_schema=core_schema.str_schema()
            ),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {
            "type": "string",
            "pattern": f"^{self.prefix}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$",
            "examples": [ids.show(self.prefix, UUID("0193a5b0-7c00-7000-8000-000000000001"))],
        }

    def _read(self, value: Any) -> UUID:
        if isinstance(value, UUID):
            return value
        if isinstance(value, str):
            try:
                return ids.read(self.prefix, value)
            except ids.BadId as error:
                raise PydanticCustomError("bad_id", "{why}", {"why": error.detail}) from None
        raise PydanticCustomError("bad_id", "Expected an id: text that starts with {prefix}_", {"prefix": self.prefix})


OrganizationId = Annotated[UUID, Shown("org")]
KeyId = Annotated[UUID, Shown("key")]
JobId = Annotated[UUID, Shown("job")]
TaskId = Annotated[UUID, Shown("tsk")]
AssignmentId = Annotated[UUID, Shown("asg")]
SubmissionId = Annotated[UUID, Shown("sub")]
UploadId = Annotated[UUID, Shown("upl")]
MediaId = Annotated[UUID, Shown("med")]
WorkerId = Annotated[UUID, Shown("wkr")]
DeviceKeyId = Annotated[UUID, Shown("dvk")]
StaffId = Annotated[UUID, Shown("stf")]
ReviewId = Annotated[UUID, Shown("rev")]
FlagId = Annotated[UUID, Shown("flg")]
StrikeId = Annotated[UUID, Shown("stk")]
CashoutId = Annotated[UUID, Shown("csh")]
TransferId = Annotated[UUID, Shown("trf")]
EndpointId = Annotated[UUID, Shown("whe")]
EventId = Annotated[UUID, Shown("evt")]


def timestamp(moment: datetime) -> str:
    """ISO 8601 in UTC with `Z`."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)


def _within_reach(value: Any, read: ValidatorFunctionWrapHandler) -> datetime:
    """
    A moment that was sent lies between 1970 and 2200. PostgreSQL would store the years 10000 and 1 BC, into which a zone can
    move a date at either end, and nothing could read them again. What is a `datetime` already is ours to show.
    """
    moment: datetime = read(value)
    if not isinstance(value, datetime) and not EARLIEST <= moment < LATEST:
        raise PydanticCustomError("out_of_reach", "Must lie between 1970 and the end of 2199, in UTC")
    return moment


Timestamp = Annotated[
    AwareDatetime,
    WrapValidator(_within_reach),
    PlainSerializer(timestamp, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-21T09:30:00Z"]}),
]


@dataclass(frozen=True)
class Unstorable:
    """A value of a request that no column can hold: where it stands and what is wrong with it."""

    path: tuple[str | int, ...]
    why: str


def unstorable(value: Any) -> Unstorable | None:
    """The first value, at any depth, that PostgreSQL cannot store as text or JSON."""
    return next(_unstorable(value, ()), None)


def _unstorable(value: Any, path: tuple[str | int, ...]) -> Iterator[Unstorable]:
    if isinstance(value, str):
        if "\x00" in value:
            yield Unstorable(path, "contains a NUL character (U+0000), which cannot be stored")
        elif not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            yield Unstorable(path, "contains half of a surrogate pair, which is not a character")
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield Unstorable(path, "is not a finite number")
    elif isinstance(value, Mapping):
        for name, member in value.items():
            for bad in _unstorable(name, ()):
                yield Unstorable(path, f"has a member whose name {bad.why}")
            yield from _unstorable(member, (*path, name))
    elif isinstance(value, Sequence):
        for place, member in enumerate(value):
            yield from _unstorable(member, (*path, place))
