"""Ids and times over the wire, and text that no column can hold."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from api.schemas import JobId, Model, Page, Timestamp, unstorable
from infra import ids


class Thing(Model):
    id: JobId
    at: Timestamp
    other: JobId | None = None


MOMENT = datetime(2026, 11, 21, 10, 30, tzinfo=timezone(timedelta(hours=1)))


@given(st.uuids())
def test_ids_are_shown_with_their_prefix_and_read_back(id: UUID) -> None:
    thing = Thing(id=id, at=MOMENT)
    written = thing.model_dump_json()
    assert f'"id":"{ids.show("job", id)}"' in written
    assert Thing.model_validate_json(written).id == id


@pytest.mark.parametrize("id", [ids.show("sub", UUID(int=1)), "job_", "job_" + "z" * 26, str(UUID(int=1)), "", 7, None])
def test_an_id_of_another_kind_is_refused(id: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        Thing.model_validate({"id": id, "at": MOMENT})
    assert refused.value.errors()[0]["type"] == "bad_id"


def test_times_are_written_in_utc_and_must_say_their_zone() -> None:
    assert '"at":"2026-11-21T09:30:00Z"' in Thing(id=UUID(int=1), at=MOMENT).model_dump_json()
    with pytest.raises(ValidationError):
        Thing.model_validate({"id": UUID(int=1), "at": "2026-11-21T09:30:00"})


@pytest.mark.parametrize(
    "moment",
    [
        "9999-12-31T23:59:59-14:00",  # the year 10000 in UTC
        "0001-01-01T00:00:00+14:00",  # 1 BC
        "0001-01-01T00:00:00Z",
        "1970-01-01T00:00:00+00:01",
        "2199-12-31T23:59:00-00:01",
        7_300_000_000,  # seconds since 1970, into 2201
    ],
)
def test_a_moment_out_of_reach_is_refused(moment: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        Thing.model_validate_json(json.dumps({"id": ids.show("job", UUID(int=1)), "at": moment}))
    assert refused.value.errors()[0]["msg"] == "Must lie between 1970 and the end of 2199, in UTC"


@given(st.datetimes(timezones=st.timezones()))
def test_what_may_be_sent_can_be_stored_and_what_is_ours_can_be_shown(moment: datetime) -> None:
    sent = json.dumps({"id": ids.show("job", UUID(int=1)), "at": moment.isoformat()})
    try:
        thing = Thing.model_validate_json(sent)
    except ValidationError:
        assert not datetime(1971, 1, 1, tzinfo=UTC) < moment < datetime(2199, 1, 1, tzinfo=UTC)
    else:
        assert 1970 <= thing.at.astimezone(UTC).year < 2200
    assert Thing(id=UUID(int=1), at=moment).at == moment


def test_unknown_members_and_endless_numbers_are_refused() -> None:
    with pytest.raises(ValidationError):
        Thing.model_validate({"id": UUID(int=1), "at": MOMENT, "more": 1})

    class Number(Model):
        value: float

    with pytest.raises(ValidationError):
        Number(value=float("inf"))


def test_the_schema_says_what_is_accepted() -> None:
    schema = Thing.model_json_schema()["properties"]["id"]
    assert schema["pattern"] == "^job_[0-7][0-9a-hjkmnp-tv-z]{25}$"
    assert Thing.model_json_schema()["properties"]["at"]["format"] == "date-time"


def test_a_page_of_anything_shows_each_by_its_own_rules() -> None:
    page = Page[Any](data=[Thing(id=UUID(int=1), at=datetime(2026, 11, 21, tzinfo=UTC))], has_more=True)
    assert '"id":"job_00000000000000000000000001"' in page.model_dump_json()


# What `json.loads` may give, and where in it something unstorable hides.
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=("Cs",))),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.characters(exclude_characters="\x00", exclude_categories=("Cs",))), inner, max_size=3
        )
    ),
    max_leaves=8,
)
BAD = st.sampled_from(["a\x00b", "\ud800", "x\udfffy", float("nan"), float("inf")])


@given(JSON)
def test_ordinary_values_can_be_stored(value: Any) -> None:
    assert unstorable(value) is None


@given(JSON, BAD)
def test_a_bad_value_is_found_where_it_hides(before: Any, bad: Any) -> None:
    found = unstorable({"a": [before, {"b": bad}]})
    assert found is not None
    assert found.path == ("a", 1, "b")
