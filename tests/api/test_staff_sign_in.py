"""Staff sign in with password and authenticator."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from api.auth import staff, staff_routes
from api.auth.callers import Staff, StaffCaller
from api.edge import get
from infra import clock, db

pytestmark = pytest.mark.usefixtures("database")
SESSIONS = "/v1/staff/auth/sessions"
EMAIL, PASSWORD = "eva@example.org", "correct horse battery"


@get("/any", who=Staff(), summary="Any role")
def any_role(session: Session, caller: StaffCaller) -> str:
    return caller.role


@get("/operators", who=Staff("operator"), summary="Operators")
def operators(session: Session, caller: StaffCaller) -> str:
    return caller.role


@pytest.fixture
def client(serve: Any) -> Any:
    with serve(any_role, operators, staff_routes.sign_in, staff_routes.sign_out) as client:
        yield client


@pytest.fixture
def add(database: str) -> Callable[..., pyotp.TOTP]:
    """Put somebody on the staff; gives what their authenticator app makes of the address."""

    def act(email: str = EMAIL, role: str = "reviewer") -> pyotp.TOTP:
        with db.transaction() as session:
            address = staff.add(session, email, PASSWORD, role, now=clock.now())
        return pyotp.TOTP(parse_qs(urlsplit(address).query)["secret"][0])

    return act


def code(totp: pyotp.TOTP, at: datetime | None = None) -> str:
    return totp.at(at or clock.now())


def try_in(client: Any, app: pyotp.TOTP, **changes: str) -> Any:
    return client.post(SESSIONS, json={"email": EMAIL, "password": PASSWORD, "totp": code(app), **changes})


def bearer(answer: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {answer.json()['token']}"}


def test_password_and_code_open_a_session(client: Any, add: Any) -> None:
    answer = try_in(client, add(), email="EVA@example.org")
    assert answer.status_code == 201
    assert answer.json()["expires_in"] == 8 * 3_600
    assert client.get("/any", headers=bearer(answer)).json() == "reviewer"


def test_each_part_must_be_right_and_all_wrongs_sound_the_same(client: Any, add: Any) -> None:
    totp = add()
    wrongs = [
        try_in(client, totp, password="wrong horse battery"),
        try_in(client, totp, totp=f"{(int(code(totp)) + 1) % 1_000_000:06d}"),
        try_in(client, totp, email="nobody@example.org"),
    ]
    assert {wrong.status_code for wrong in wrongs} == {401}
    assert len({wrong.json()["detail"] for wrong in wrongs}) == 1


def test_a_code_counts_once(client: Any, add: Any) -> None:
    totp = add()
    assert try_in(client, totp).status_code == 201
    assert try_in(client, totp).status_code == 401
    clock.shift(timedelta(seconds=30))
    assert try_in(client, totp).status_code == 201


def test_one_code_at_the_same_moment_counts_once(client: Any, add: Any) -> None:
    totp = add()
    body = {"email": EMAIL, "password": PASSWORD, "totp": code(totp)}
    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(lambda _: client.post(SESSIONS, json=body).status_code, range(4)))
    assert sorted(statuses) == [201, 401, 401, 401]


def test_a_phone_half_a_minute_off_is_fine_and_more_is_not(client: Any, add: Any) -> None:
    totp, now = add(), clock.now()
    assert try_in(client, totp, totp=code(totp, now - timedelta(seconds=60))).status_code == 401
    assert try_in(client, totp, totp=code(totp, now + timedelta(seconds=90))).status_code == 401
    assert try_in(client, totp, totp=code(totp, now + timedelta(seconds=30))).status_code == 201


def test_five_failures_make_the_account_rest_longer_each_time(client: Any, add: Any) -> None:
    totp = add()
    for _ in range(5):
        assert try_in(client, totp, password="wrong horse battery").status_code == 401
    assert try_in(client, totp).status_code == 401
    clock.shift(timedelta(seconds=61))
    assert try_in(client, totp, password="wrong horse battery").status_code == 401
    clock.shift(timedelta(seconds=61 + 90))
    assert try_in(client, totp).status_code == 401
    clock.shift(timedelta(seconds=61 + 121))
    assert try_in(client, totp).status_code == 201
    with db.transaction() as session:
        assert session.execute(text("SELECT failures, locked_until FROM staff")).one() == (0, None)


def test_many_tries_at_the_same_moment_do_not_slip_past(client: Any, add: Any) -> None:
    totp = add()
    good = code(totp)
    bodies = [{"email": EMAIL, "password": "wrong horse battery", "totp": good}] * 8
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda body: client.post(SESSIONS, json=body).status_code, bodies)) == {401}
    with db.transaction() as session:
        assert session.execute(text("SELECT failures FROM staff")).scalar_one() == 5


def test_only_two_passwords_are_checked_at_once(client: Any, add: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    add()
    together, most, lock = 0, 0, threading.Lock()

    def fits(*_: Any) -> bool:
        nonlocal together, most
        with lock:
            together += 1
            most = max(most, together)
        time.sleep(0.05)
        with lock:
            together -= 1
        return False

    monkeypatch.setattr(staff, "fits", fits)
    body = {"email": "nobody@example.org", "password": PASSWORD, "totp": "123456"}
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: client.post(SESSIONS, json=body).status_code, range(8))) == {401}
    assert most == staff.CHECKS_AT_ONCE == 2


def test_who_finds_no_place_may_come_back_and_has_not_failed(
    client: Any, add: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = add()
    monkeypatch.setattr(staff, "PATIENCE", 0.05)
    with staff.turn(), staff.turn():
        busy = try_in(client, app)
    assert (busy.status_code, busy.json()["type"]) == (503, "/problems/too-many-sign-ins")
    assert busy.headers["retry-after"] == "2"
    with db.transaction() as session:
        assert session.execute(text("SELECT failures FROM staff")).scalar_one() == 0
    assert try_in(client, app).status_code == 201


def test_roles_open_what_they_may(client: Any, add: Any) -> None:
    statuses = {}
    for role in staff.ROLES:
        totp = add(f"{role}@example.org", role)
        answer = try_in(client, totp, email=f"{role}@example.org")
        statuses[role] = client.get("/operators", headers=bearer(answer)).status_code
    assert statuses == {"reviewer": 403, "operator": 200, "admin": 200}


def test_a_session_ends(client: Any, add: Any) -> None:
    totp = add()
    signed_out = bearer(try_in(client, totp))
    assert client.delete(f"{SESSIONS}/current", headers=signed_out).status_code == 204
    assert client.get("/any", headers=signed_out).status_code == 401
    clock.shift(timedelta(minutes=1))
    expired = bearer(try_in(client, totp))
    clock.shift(timedelta(hours=8, minutes=2))
    assert client.get("/any", headers=expired).status_code == 401
    disabled = bearer(try_in(client, totp))
    assert client.get("/any", headers=disabled).status_code == 200
    with db.transaction() as session:
        session.execute(text("UPDATE staff SET disabled_at = now()"))
    assert client.get("/any", headers=disabled).status_code == 401
    clock.shift(timedelta(hours=9))
    assert try_in(client, totp).status_code == 401


def test_nothing_secret_stands_in_the_tables(client: Any, add: Any) -> None:
    totp = add()
    token = try_in(client, totp).json()["token"]
    with db.transaction() as session:
        rows = " ".join(
            session.execute(text("SELECT s::text FROM staff s UNION SELECT t::text FROM staff_sessions t")).scalars()
        )
    for secret in (PASSWORD, totp.secret, token, totp.secret.encode().hex(), token.encode().hex()):
        assert secret not in rows


def test_who_is_added_has_a_strong_password_a_known_role_and_a_free_address(session: Session) -> None:
    staff.add(session, EMAIL, PASSWORD, "admin", now=clock.now())
    for refusal, (email, password, role) in {
        staff.WeakPassword: (EMAIL, "short", "admin"),
        staff.NoSuchRole: (EMAIL, PASSWORD, "king"),
        staff.AlreadyStaff: ("Eva@Example.org", PASSWORD, "admin"),
    }.items():
        with pytest.raises(refusal):
            staff.add(session, email, password, role, now=clock.now())
