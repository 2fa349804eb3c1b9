"""Ids: shown and read back, in the order of their making."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra import ids


@given(st.uuids())
def test_what_is_shown_reads_back(id: UUID) -> None:
    shown = ids.show("job", id)
    assert len(shown) == len("job_") + 26
    assert ids.read("job", shown) == id


@given(st.uuids(), st.uuids())
def test_shown_ids_sort_as_the_ids_do(a: UUID, b: UUID) -> None:
    assert (a < b) == (ids.show("x", a) < ids.show("x", b))


def test_new_ids_sort_by_creation() -> None:
    made = [ids.new() for _ in range(1_000)]
    assert made == sorted(made)
    assert len(set(made)) == 1_000


@pytest.mark.parametrize(
    "text", ["", "job_", "sub_01m809njynexrsg2fwcxc73a4a", "job_01m809njynexrsg2fwcxc73a4", "job_zzzzzzzzzzzzzzzzzzzzzzzzzz",
             "job_01m809njynexrsg2fwcxc73a4u", "JOB_01m809njynexrsg2fwcxc73a4a", "job_01m809njynexrsg2fwcxc73a4é"]
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ids.BadId):
        ids.read("job", text)


def test_the_floor_of_a_moment_lies_between_older_and_younger_ids() -> None:
    before = ids.new()
    assert before < ids.floor(datetime.now(UTC) + timedelta(milliseconds=2))
    assert ids.floor(datetime.now(UTC) - timedelta(milliseconds=2)) < ids.new()
