"""The feed: what a worker may take and nothing else, best first, in pages that neither repeat nor skip."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from infra import db
from jobs import assignments, feed, geo, organizations, places
from jobs.feed import Entry, Place
from jobs.geo import Point
from jobs.models import Job
from jobs.tasks import NoSlotLeft
from tests.jobs import scenes
from tests.jobs.scenes import AUSTIN, NOW, later
from tiering import caps, eligibility
from tiering.models import Worker
from tiering.tiers import TIERS

LATE = later(hours=1)  # every window is open
HERE = AUSTIN.point


def look(
    session: Session,
    worker: Worker,
    *,
    platform: str | None = "ios",
    point: Point = HERE,
    now: Any = LATE,
    limit: int = 100,
    place: Place | None = None,
    after: tuple[float, UUID] | None = None,
) -> list[Entry]:
    return feed.read(
        session,
        worker,
        platform=platform,
        place=place or Place.now(point, now),
        organizations=organizations.memberships(session, worker.email),
        after=after,
        limit=limit,
        now=now,
    )


def jobs_of(entries: list[Entry]) -> list[UUID]:
    return [entry.job.id for entry in entries]


# -- random worlds -----------------------------------------------------------------------------------------------------

DISCS = st.builds(
    lambda north, east, km: {
        "latitude": HERE.latitude + north,
        "longitude": HERE.longitude + east,
        "radius_km": float(km),
    },
    st.floats(-0.5, 0.5),
    st.floats(-0.5, 0.5),
    st.integers(1, 60),
)
CITY: dict[str, Any] = {"city": "Austin", "state": "TX", "country": "US"}
DRAFTS = st.fixed_dictionaries(
    {
        "price_per_file_cents": st.sampled_from([10, 50, 999, 1_000, 5_000]),
        "location": st.none() | DISCS | st.just(CITY) | DISCS.map(lambda disc: disc | CITY | {"radius_km": 60.0}),
        "priority": st.sampled_from([*feed.PRIORITY]),
        "files_needed": st.sampled_from([1, 2, 10, 30]),
        "task_time_limit_minutes": st.sampled_from([1, 10, 30]),
        "tech_constraints": st.sampled_from([{}, {"platforms": ["ios"]}, {"platforms": ["android", "ios"]}]),
        "test": st.booleans(),
        "test_emails": st.sampled_from([[], ["Ana@Example.org"], ["ben@example.org"]]),
    }
)
MINUTES = st.sampled_from([0, 0.5, 1, 2, 5, 29, 31, 3_000])  # since publication


def world(session: Session, drafts: list[tuple[dict[str, Any], float, bool, bool]]) -> list[Job]:
    """Jobs of two buyers, one of whom Ana works for; some are for Diamond alone; each as old as it says."""
    hers = scenes.buyer(session, 10_000_000, members=("ana@example.org",)).id
    others = scenes.buyer(session, 10_000_000).id
    return [
        scenes.published(
            session,
            hers if own else others,
            now=LATE - timedelta(minutes=age),
            **draft | {"audience": {"diamond_only": True} if diamond and draft["location"] else {}},
        )
        for draft, age, diamond, own in drafts
    ]


WORLDS = st.lists(st.tuples(DRAFTS, MINUTES, st.booleans(), st.booleans()), max_size=12)
quick = hypothesis_settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@quick
@given(WORLDS, st.sampled_from(TIERS), st.sampled_from([0, 10]), st.sampled_from(["ios", "android", None]))
def test_the_feed_shows_exactly_what_can_be_claimed(
    database: str, drafts: Any, tier: Any, assignments_so_far: int, platform: str | None
) -> None:
    """The query, the rules of `tiering.eligibility` and `claim` say the same of every job."""
    with db.transaction() as session:
        everything = world(session, drafts)
        ana = scenes.worker(session, tier, assignments=assignments_so_far, email="ana@example.org")
        scenes.take_slots(session, everything)
        shown = set(jobs_of(look(session, ana, platform=platform)))
        for job in everything:
            may = not against(session, ana, job, platform) and scenes.has_slot_for(session, job, ana, LATE)
            assert (job.id in shown) == may, job.id
            assert claimable(session, ana, job, platform) == may
        session.rollback()


def against(session: Session, worker: Worker, job: Job, platform: str | None) -> list[eligibility.Reason]:
    """What `tiering.eligibility` has against it, from the job's own columns."""
    assert job.published_at
    platforms = job.tech_constraints.get("platforms")
    return eligibility.check(
        eligibility.WorkerFacts(worker.tier, banned=False, used_today=caps.used(session, worker.id, LATE)),
        eligibility.JobFacts(
            published_at=job.published_at,
            price_cents=job.price_per_file_cents,
            minimum_tier="diamond" if job.audience.get("diamond_only") else "new",
            own_organization=job.organization_id in organizations.memberships(session, worker.email),
            in_place=geo.contains(places.area_from_json(job.area), HERE) if job.area else None,
            in_audience=(not platforms or platform in platforms)
            and (not job.test or worker.email.lower() in job.test_emails),
        ),
        LATE,
    )


def claimable(session: Session, worker: Worker, job: Job, platform: str | None) -> bool:
    attempt = session.begin_nested()
    try:
        assignments.claim(session, job_id=job.id, worker_id=worker.id, platform=platform, position=AUSTIN, now=LATE)
    except (eligibility.NotEligible, NoSlotLeft):
        return False
    finally:
        attempt.rollback()
    return True


@quick
@given(WORLDS, st.lists(st.integers(1, 5), min_size=1, max_size=4), st.sampled_from([0, 10]), st.integers(0, 20))
def test_pages_of_any_size_are_the_whole_list_in_order(
    database: str, drafts: Any, sizes: list[int], assignments_so_far: int, minutes: int
) -> None:
    with db.transaction() as session:
        world(session, drafts)
        ana = scenes.worker(session, "diamond", assignments=assignments_so_far)
        whole = look(session, ana)
        assert whole == sorted(whole, key=lambda entry: (entry.rank, entry.job.id), reverse=True)
        pages, after, place = list[Entry](), None, Place.now(HERE, LATE)
        for turn in range(len(whole) + 2):
            # Time goes by and the phone moves between two pages; the cursor's place and minute stay.
            now = LATE + timedelta(seconds=minutes * turn)
            page = look(session, ana, now=now, limit=sizes[turn % len(sizes)], after=after, place=place)
            pages += page
            if not page:
                break
            after = (page[-1].rank, page[-1].job.id)
        listed = jobs_of(pages)
        assert len(listed) == len(set(listed)), "a job stands on two pages"
        assert [id for id in listed if id in jobs_of(whole)] == jobs_of(whole)
        session.rollback()


@quick
@given(WORLDS, st.floats(0, 59.99), st.floats(0, 59.99))
def test_within_a_minute_the_feed_does_not_change(database: str, drafts: Any, first: float, second: float) -> None:
    """So a client that polls is told 304; what opens meanwhile is news of course, so all windows are open here."""
    with db.transaction() as session:
        world(session, [(draft, 3_000, diamond, own) for draft, _, diamond, own in drafts])
        ana = scenes.worker(session, "diamond")
        once, again = (look(session, ana, now=LATE + timedelta(seconds=at)) for at in (first, second))
        assert once == again
        session.rollback()


# -- each rule ---------------------------------------------------------------------------------------------------------


def test_the_rank_is_the_documented_formula(session: Session) -> None:
    ana = scenes.worker(session, assignments=10)
    place = {"latitude": 30.3, "longitude": -97.7431, "radius_km": 20.0}
    job = scenes.published(
        session, location=place, priority="high", files_needed=8, task_time_limit_minutes=5, fee_mode="on_top"
    )
    for _ in range(3):
        scenes.claimed(session, job)
    now = later(hours=24, seconds=42)
    (entry,) = look(session, ana, now=now)
    km = geo.distance_km(Point(30.3, -97.7431), HERE)
    assert entry.distance_km == pytest.approx(km, abs=1e-9)
    assert entry.slots_left == 5
    per_minute = 50 / (5 + 3 * km)
    assert entry.rank == pytest.approx(per_minute * 1.25 * (1 + 0.25 * 0.5) * (0.75 + 0.25 * 0.75), abs=1e-5)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"price_per_file_cents": 60}, {}),
        ({"priority": "urgent"}, {"priority": "high"}),
        ({"priority": "normal"}, {"priority": "low"}),
        ({"task_time_limit_minutes": 5}, {}),
        ({"fee_mode": "on_top"}, {}),
        ({"files_per_submission": 2}, {}),
        ({}, {"location": {"latitude": 30.4, "longitude": -97.7431, "radius_km": 50.0}}),
        ({"now": later(minutes=50)}, {"now": later(minutes=-600)}),
    ],
)
def test_what_pays_sooner_stands_first(session: Session, better: dict[str, Any], worse: dict[str, Any]) -> None:
    organization = scenes.buyer(session)
    first = scenes.published(session, organization.id, **better)
    second = scenes.published(session, organization.id, **worse)
    assert jobs_of(look(session, scenes.worker(session))) == [first.id, second.id]


def test_newcomers_first_see_what_is_held_for_them(session: Session) -> None:
    small = scenes.published(session, files_needed=9, price_per_file_cents=900)
    large = scenes.published(session, files_needed=10, price_per_file_cents=10)
    newcomer, old = scenes.worker(session, assignments=2), scenes.worker(session, assignments=3)
    soon = later(minutes=29)
    assert jobs_of(look(session, newcomer, now=soon)) == [large.id, small.id]
    assert jobs_of(look(session, old, now=soon)) == [small.id, large.id]
    assert jobs_of(look(session, newcomer, now=later(minutes=30))) == [small.id, large.id]


def test_slots_held_for_newcomers_are_not_offered_to_others(session: Session) -> None:
    job = scenes.published(session, files_needed=10)
    newcomer, old = scenes.worker(session, assignments=0), scenes.worker(session)
    left = {who: [entry.slots_left for entry in look(session, who, now=later(minutes=6))] for who in (newcomer, old)}
    assert (left[newcomer], left[old]) == ([10], [9])
    for _ in range(9):
        scenes.claimed(session, job)
    assert look(session, old, now=later(minutes=6)) == []
    assert [entry.slots_left for entry in look(session, newcomer, now=later(minutes=6))] == [1]
    assert [entry.slots_left for entry in look(session, old, now=later(minutes=30))] == [1]


@pytest.mark.parametrize(
    ("tier", "seconds"), [("gold", 0), ("diamond", 0), ("silver", 60), ("bronze", 300), ("new", 300)]
)
def test_each_tier_sees_a_job_when_its_window_opens(session: Session, tier: Any, seconds: int) -> None:
    scenes.published(session)
    ana = scenes.worker(session, tier)
    assert len(look(session, ana, now=later(seconds=seconds))) == 1
    assert look(session, ana, now=later(seconds=seconds) - timedelta(microseconds=1)) == []


def test_a_job_is_shown_until_it_ends(session: Session) -> None:
    scenes.published(session, posting_time_limit_minutes=5)
    ana = scenes.worker(session)
    assert len(look(session, ana, now=later(minutes=5, microseconds=-1))) == 1
    assert look(session, ana, now=later(minutes=5)) == []


def test_a_job_that_takes_no_more_from_me_is_not_shown_to_me(session: Session) -> None:
    ana, ben = scenes.worker(session), scenes.worker(session)
    job = scenes.published(session, max_submissions_per_worker=2)
    first, second = (scenes.claimed(session, job, ana) for _ in range(2))
    assert (look(session, ana), jobs_of(look(session, ben))) == ([], [job.id])
    scenes.handed_in(session, first)
    assert look(session, ana) == []
    assignments.hand_back(session, second.id, worker_id=ana.id, now=NOW)
    assert jobs_of(look(session, ana)) == [job.id]


def test_a_job_that_has_all_its_workers_is_shown_to_them_alone(session: Session) -> None:
    ana, ben, cleo = (scenes.worker(session) for _ in range(3))
    job = scenes.published(session, max_workers=2)
    claim = scenes.claimed(session, job, ana)
    for _ in range(2):
        scenes.claimed(session, job, ben)
    assert [jobs_of(look(session, who)) for who in (ana, ben, cleo)] == [[job.id], [job.id], []]
    assignments.hand_back(session, claim.id, worker_id=ana.id, now=NOW)
    assert [jobs_of(look(session, who)) for who in (ana, ben, cleo)] == [[job.id]] * 3


def test_the_rim_of_an_area_is_exact(session: Session) -> None:
    center = Point(30.0, -97.0)
    scenes.published(session, location={"latitude": 30.0, "longitude": -97.0, "radius_km": 10.0})
    ana = scenes.worker(session)
    (north, *_rest) = geo.around(center, 9.99)
    assert len(look(session, ana, point=north)) == 1
    (north, *_rest) = geo.around(center, 10.01)
    assert look(session, ana, point=north) == []


def test_both_shapes_of_a_location_must_hold(session: Session) -> None:
    disc = {"latitude": 30.2672, "longitude": -97.7431, "radius_km": 500.0}
    scenes.published(session, location=disc | CITY)
    ana = scenes.worker(session)
    assert len(look(session, ana)) == 1
    assert look(session, ana, point=Point(31.5, -97.1)) == []  # Waco: in the disc, not in the city


def test_a_page_is_full_though_boundaries_hide_most(session: Session) -> None:
    """Jobs that the query finds by their cells and the exact check then drops are read past."""
    organization = scenes.buyer(session)
    waco = Point(31.5493, -97.1467)
    disc = {"latitude": waco.latitude, "longitude": waco.longitude, "radius_km": 300.0}
    for _ in range(9):
        scenes.published(session, organization.id, price_per_file_cents=500, location=disc | CITY)
    cheap = [scenes.published(session, organization.id, price_per_file_cents=10).id for _ in range(3)]
    # Just outside of the city's disc, yet in its cells.
    edge = next(
        point
        for km in range(1, 60)
        for point in geo.around(HERE, km)
        if not geo.contains(places.resolve(session, places.Location(**CITY)), point)
    )
    entries = look(session, scenes.worker(session), point=edge, limit=2)
    assert jobs_of(entries) == sorted(cheap, reverse=True)[:2]


def test_a_buyer_is_shown_with_their_scorecard(session: Session) -> None:
    organization = scenes.buyer(session)
    organization.decided, organization.approval_rate, organization.median_decision_seconds = 12, 0.75, 40.0
    scenes.published(session, organization.id)
    (entry,) = look(session, scenes.worker(session))
    assert (entry.organization.name, entry.organization.approval_rate) == ("Acme", 0.75)
    assert entry.distance_km is None


def test_a_feed_is_ranked_for_the_whole_minute() -> None:
    assert Place.now(HERE, later(seconds=59.9)).minute == NOW
