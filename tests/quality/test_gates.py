"""Every gate in every outcome, with what it measured, the limit, and words for the worker; and the order they run in."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from shapely import MultiPolygon, Polygon

from infra import ids
from ingest.breakage import Broken, Code
from ingest.exif import Exif
from jobs import geo
from jobs.geo import Area, Disc, Point, Region
from quality import gates
from quality.facts import Finding, SubmissionFacts
from quality.gates import attestation, bytes, content_hash, near_duplicate, place, resolution
from quality.gates.near_duplicate import _judge
from tests.quality import facts
from tests.quality.facts import AUSTIN, DOWNTOWN, FIX, LIMITS


def one(gate: Any, submission: SubmissionFacts) -> Finding:
    (finding,) = gate.check(submission)
    assert isinstance(finding, Finding)
    assert (finding.gate, finding.version) == (gate.NAME, gate.VERSION)
    return finding


def said(finding: Finding) -> tuple[str, str, Any, Any]:
    return finding.outcome, finding.code, finding.measured, finding.limit


def test_the_gates_stand_in_the_products_order() -> None:
    names = [gate.name for gate in gates.GATES]
    assert names == ["attestation", "bytes", "content_hash", "resolution", "near_duplicate", "place"]


def test_a_good_photo_passes_every_gate_and_each_says_so() -> None:
    findings = gates.run(facts.handed_in(limits=replace(LIMITS, area=DOWNTOWN)))
    assert [finding.gate for finding in findings] == [gate.name for gate in gates.GATES]
    assert {finding.outcome for finding in findings} == {"pass"}
    assert not any(finding.shadow for finding in findings)


def test_each_file_is_judged() -> None:
    good, small = facts.file(), facts.file(facts.photo(width=10))
    findings = gates.run(facts.handed_in(good, small, limits=replace(LIMITS, min_width=100)))
    by_file = {(finding.media_id, finding.gate): finding.outcome for finding in findings}
    assert by_file[good.media_id, "resolution"] == "pass"
    assert by_file[small.media_id, "resolution"] == "reject"
    assert len(by_file) == 2 * 4 + 2  # attestation and place speak of the whole submission


def test_a_shadow_gate_is_recorded_as_such() -> None:
    submission = facts.handed_in(facts.file(facts.photo(width=10)), limits=replace(LIMITS, min_width=100), trust="D")
    findings = gates.run(submission, shadow=["resolution"])
    assert {finding.gate: (finding.outcome, finding.shadow) for finding in findings} == {
        "attestation": ("review", False),
        "bytes": ("pass", False),
        "content_hash": ("pass", False),
        "resolution": ("reject", True),
        "near_duplicate": ("pass", False),
        "place": ("pass", False),
    }


# -- attestation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trust", ["A", "B", "C"])
def test_a_signed_submission_passes(trust: str) -> None:
    assert said(one(attestation, facts.handed_in(trust=trust))) == ("pass", "signed", trust, "C")


def test_an_unsigned_one_goes_to_a_human() -> None:
    finding = one(attestation, facts.handed_in(trust="D"))
    assert said(finding) == ("review", "unsigned", "D", "C")
    assert "sign" in finding.feedback


# -- bytes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", Code)
def test_a_broken_file_is_rejected_with_what_was_found(code: Code) -> None:
    broken = Broken(code, "The file ends too early. Send it again.", 100, 200).as_json()
    media = facts.file(None, broken=broken)
    finding = one(bytes, facts.handed_in(media))
    assert said(finding) == ("reject", code.value, 100, 200)
    assert (finding.feedback, finding.media_id) == ("The file ends too early. Send it again.", media.media_id)


def test_a_type_the_job_does_not_take_is_rejected() -> None:
    media = facts.file(facts.photo(format="WEBP", media_type="image/webp"))
    finding = one(bytes, facts.handed_in(media))
    assert said(finding) == ("reject", "type_not_accepted", "image/webp", ["image/jpeg", "image/png"])
    assert "image/webp" in finding.feedback


@pytest.mark.parametrize("declared", ["image/heic", "image/heif"])
def test_both_names_of_one_format_are_taken(declared: str) -> None:
    media = facts.file(facts.photo(format="HEIF", media_type="image/heic"))
    assert one(bytes, facts.handed_in(media, limits=replace(LIMITS, accepted_formats=(declared,)))).outcome == "pass"


def test_an_intact_file_passes() -> None:
    assert said(one(bytes, facts.handed_in())) == ("pass", "intact", "JPEG, 2000000 bytes", None)


def test_gates_that_need_facts_leave_broken_files_alone() -> None:
    broken = facts.file(None, broken=Broken(Code.TRUNCATED, "Cut short.").as_json())
    findings = gates.run(facts.handed_in(broken))
    assert [finding.gate for finding in findings if finding.media_id] == ["bytes"]


# -- content hash ----------------------------------------------------------------------------------------------------


def test_the_same_bytes_again_are_rejected() -> None:
    earlier = ids.new()
    finding = one(content_hash, facts.handed_in(facts.file(copy_of=earlier)))
    assert said(finding) == ("reject", "exact_copy", ids.show("med", earlier), None)
    assert "before" in finding.feedback


def test_new_bytes_pass() -> None:
    assert said(one(content_hash, facts.handed_in())) == ("pass", "new_bytes", "ab" * 8, None)


# -- resolution ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("floor", "size", "outcome", "limit"),
    [
        ((None, None), (1, 1), "pass", "1x1"),
        ((800, 600), (800, 600), "pass", "800x600"),
        ((800, 600), (799, 600), "reject", "800x600"),
        ((800, 600), (800, 599), "reject", "800x600"),
        ((800, 600), (600, 800), "reject", "800x600"),
        ((800, None), (800, 1), "pass", "800x1"),
        ((None, 600), (1, 599), "reject", "1x600"),
    ],
)
def test_the_floor_of_width_and_height(floor: Any, size: Any, outcome: str, limit: str) -> None:
    media = facts.file(facts.photo(width=size[0], height=size[1]))
    limits = replace(LIMITS, min_width=floor[0], min_height=floor[1])
    finding = one(resolution, facts.handed_in(media, limits=limits))
    assert (finding.outcome, finding.measured, finding.limit) == (outcome, f"{size[0]}x{size[1]}", limit)
    assert bool(finding.feedback) == (outcome == "reject")
    if finding.feedback:
        assert f"{size[0]} x {size[1]}" in finding.feedback
        assert limit.replace("x", " x ") in finding.feedback


# -- near duplicate --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("distance", "correlation", "standing", "outcome"),
    [
        (31, 0.5, "approved", "reject"),
        (31, 0.5, "same", "reject"),
        (0, 1.0, "approved", "reject"),
        (32, 0.5, "approved", "review"),  # only the geometry says so
        (88, 1.0, "approved", "review"),
        (31, 0.49, "approved", "review"),
        (31, 0.3, "approved", "review"),
        (31, 0.29, "approved", "pass"),  # only the hash says so: it accuses nobody
        (0, 0.0, "approved", "pass"),
        (0, 1.0, "pending", "review"),  # whose copy is whose is not decided yet
        (0, 1.0, "in_review", "review"),
        (32, 0.29, "in_review", "pass"),
    ],
)
def test_the_band_between_reject_and_pass(distance: int, correlation: float, standing: str, outcome: str) -> None:
    near = facts.neighbour(distance, correlation, standing, mirrored=True)
    finding = one(near_duplicate, facts.handed_in(facts.file(neighbours=(near,))))
    code = {"reject": "near_duplicate", "review": "looks_alike", "pass": "unlike_others"}[outcome]
    shown = {
        "media": ids.show("med", near.media_id),
        "distance": distance,
        "correlation": correlation,
        "mirrored": True,
    }
    assert said(finding) == (outcome, code, shown, {"distance": 31, "correlation": 0.5})
    assert bool(finding.feedback) == (outcome != "pass")


def test_without_neighbours_nothing_is_measured() -> None:
    assert said(one(near_duplicate, facts.handed_in())) == (
        "pass",
        "unlike_others",
        None,
        {"distance": 31, "correlation": 0.5},
    )


def test_of_many_neighbours_the_worst_is_named() -> None:
    far, near, nearest = facts.neighbour(30, 0.9), facts.neighbour(10, 0.6), facts.neighbour(10, 0.8)
    doubtful = facts.neighbour(0, 1.0, "pending")
    finding = one(near_duplicate, facts.handed_in(facts.file(neighbours=(doubtful, far, near, nearest))))
    assert (finding.outcome, finding.measured["media"]) == ("reject", ids.show("med", nearest.media_id))
    finding = one(near_duplicate, facts.handed_in(facts.file(neighbours=(facts.neighbour(1, 0.1), doubtful))))
    assert (finding.outcome, finding.measured["media"]) == ("review", ids.show("med", doubtful.media_id))


def test_the_thresholds_are_settings(configure: Any) -> None:
    configure(near_reject_distance=10, near_reject_correlation=0.8, near_review_correlation=0.6)
    assert [_judge(facts.neighbour(*values)) for values in ((10, 0.8), (11, 0.8), (10, 0.79), (0, 0.59))] == [
        "reject",
        "review",
        "review",
        "pass",
    ]


STANDINGS = st.sampled_from(["approved", "pending", "in_review", "same"])
NEIGHBOURS = st.builds(facts.neighbour, st.integers(0, 88), st.floats(0, 1), STANDINGS, st.booleans())
ORDER = ["pass", "review", "reject"]


@given(st.lists(NEIGHBOURS, max_size=6), NEIGHBOURS)
def test_one_more_neighbour_never_makes_it_better(some: list[Any], more: Any) -> None:
    before, after = (
        one(near_duplicate, facts.handed_in(facts.file(neighbours=tuple(found)))).outcome
        for found in (some, [*some, more])
    )
    assert ORDER.index(after) >= ORDER.index(before)


@given(st.integers(0, 88), st.floats(0, 1), st.integers(0, 88), st.floats(0, 1), STANDINGS)
def test_more_alike_is_never_judged_milder(
    distance: int, correlation: float, nearer: int, stronger: float, standing: str
) -> None:
    one_of_them = facts.neighbour(distance, correlation, standing)
    closer = facts.neighbour(min(distance, nearer), max(correlation, stronger), standing)
    assert ORDER.index(_judge(closer)) >= ORDER.index(_judge(one_of_them))


# -- place -----------------------------------------------------------------------------------------------------------

BOUND = replace(LIMITS, area=DOWNTOWN)


def doubts(limits: Any = BOUND, exif: Any = None, **position: Any) -> list[tuple[str, str]]:
    media = facts.file(facts.photo(exif=exif or Exif()))
    found = place.check(facts.handed_in(media, limits=limits, position=FIX | position))
    return [(finding.outcome, finding.code) for finding in found]


def away(km: float) -> dict[str, Any]:
    """So far east of the middle of the area."""
    point = geo.around(AUSTIN, km)[2]
    return {"latitude": point.latitude, "longitude": point.longitude}


def test_in_place_or_anywhere() -> None:
    assert doubts() == [("pass", "in_place")]
    assert doubts(LIMITS, **away(5_000)) == [("pass", "anywhere")]


@pytest.mark.parametrize("limits", [BOUND, LIMITS])
def test_a_made_up_position_goes_to_a_human_wherever_the_job_is(limits: Any) -> None:
    assert doubts(limits, mocked=True) == [("review", "mock_location")]


@pytest.mark.parametrize(("kmh", "found"), [(400.0, "in_place"), (400.1, "impossible_speed"), (None, "in_place")])
def test_nobody_travels_faster_than_an_aeroplane(kmh: float | None, found: str) -> None:
    (finding,) = place.check(facts.handed_in(limits=BOUND, position=FIX | {"speed_kmh": kmh}))
    assert finding.code == found
    if found == "impossible_speed":
        assert said(finding) == ("review", "impossible_speed", 400.1, 400)


@pytest.mark.parametrize(
    ("km", "accuracy_m", "code"),
    [
        (4.9, 10, "in_place"),
        (5.1, 10, "outside_area"),
        (5.1, 0, "outside_area"),
        (5.1, 200, "in_place"),
        (5.9, 1_000, "in_place"),
        (6.1, 1_000, "outside_area"),
        (5.9, 30_000, "vague_fix"),
        (0.1, 1_001, "vague_fix"),
        (6.1, 100_000, "outside_area"),  # nobody gets round an area by knowing nothing
    ],
)
def test_outside_means_outside_whatever_the_fix_is_worth(km: float, accuracy_m: float, code: str) -> None:
    outcome = {"in_place": "pass", "vague_fix": "signal"}.get(code, "review")
    assert doubts(**away(km), accuracy_m=accuracy_m) == [(outcome, code)]


@hypothesis_settings(max_examples=200)
@given(st.floats(0.01, 50), st.floats(0, 0.99), st.integers(0, 7), st.floats(0, 1))
def test_no_honest_fix_on_a_disc_is_doubted(radius: float, share: float, direction: int, accuracy_km: float) -> None:
    """A phone inside the area that reports a point within its own uncertainty of up to a kilometre is in place."""
    where = geo.around(AUSTIN, share * (radius + accuracy_km) + 0.0001)[direction]
    area = Area((Disc(AUSTIN, radius),))
    position = {"latitude": where.latitude, "longitude": where.longitude, "accuracy_m": accuracy_km * 1_000}
    assert doubts(replace(LIMITS, area=area), **position) == [("pass", "in_place")]


@pytest.mark.parametrize("limits", [BOUND, LIMITS])
@pytest.mark.parametrize(
    ("lie", "code"), [({"mocked": True}, "mock_location"), ({"speed_kmh": 401.0}, "impossible_speed")]
)
def test_a_lie_at_the_claim_counts_like_one_at_the_hand_in(limits: Any, lie: dict[str, Any], code: str) -> None:
    submission = facts.handed_in(limits=limits, position=FIX | {"speed_kmh": 3.0}, claim_position=FIX | lie)
    (finding,) = place.check(submission)
    assert (finding.outcome, finding.code) == ("review", code)
    both = replace(submission, position=FIX | lie)
    assert [found.code for found in place.check(both)] == [code]


def test_an_old_fix_is_noted_and_nothing_more() -> None:
    assert doubts(fix_age_s=601.0) == [("signal", "old_fix")]
    assert doubts(fix_age_s=600.0) == [("pass", "in_place")]


def test_a_photo_from_elsewhere_goes_to_a_human() -> None:
    london = Exif(latitude=51.5, longitude=-0.1)
    assert doubts(exif=london) == [("review", "photo_from_elsewhere")]
    assert doubts(LIMITS, exif=london) == [("pass", "anywhere")]
    assert doubts(exif=Exif(latitude=51.5)) == [("pass", "in_place")]  # half a position is none


@pytest.mark.parametrize(("km", "code"), [(5.9, "in_place"), (6.1, "photo_from_elsewhere")])
def test_a_camera_may_remember_its_last_position(km: float, code: str) -> None:
    where = away(km)
    assert doubts(exif=Exif(latitude=where["latitude"], longitude=where["longitude"]))[0][1] == code


def test_every_doubt_is_named() -> None:
    everything = doubts(exif=Exif(latitude=0.0, longitude=0.0), mocked=True, speed_kmh=900, **away(100))
    assert [code for _, code in everything] == [
        "mock_location",
        "impossible_speed",
        "outside_area",
        "photo_from_elsewhere",
    ]


@pytest.mark.parametrize(
    ("km", "accuracy_m", "code"), [(1, 0, "in_place"), (5.5, 10, "outside_area"), (5.5, 990, "in_place")]
)
def test_a_boundary_is_met_with_the_same_tolerance(km: float, accuracy_m: float, code: str) -> None:
    rim = [
        (AUSTIN.longitude + x, AUSTIN.latitude + y)
        for x, y in ((-0.05, -0.05), (0.05, -0.05), (0.05, 0.05), (-0.05, 0.05))
    ]
    square = Area((Region(MultiPolygon([Polygon(rim)])),))  # its eastern rim is 4.8 km away
    assert doubts(replace(LIMITS, area=square), **away(km), accuracy_m=accuracy_m)[0][1] == code


def test_both_shapes_count() -> None:
    both = Area((Disc(AUSTIN, 5.0), Disc(Point(AUSTIN.latitude + 1, AUSTIN.longitude), 5.0)))
    assert doubts(replace(LIMITS, area=both)) == [("review", "outside_area")]
