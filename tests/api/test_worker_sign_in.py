"""Workers sign in with a mailed code and stay signed in with rotating tokens."""

import base64
import contextlib
import smtplib
import traceback
from datetime import timedelta
from typing import Any
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from api.auth import background, codes, sessions
from api.auth.callers import Worker, WorkerCaller
from api.auth.models import LoginCode
from api.edge import get
from infra import clock, crypto, db, ids, mail
from infra.outbox import Event
from infra.settings import settings

pytestmark = pytest.mark.usefixtures("database")
EMAIL = "ana@example.org"
CODES, TOKENS, REFRESH = ("/v1/worker/auth/" + name for name in ("codes", "tokens", "refresh"))


@get("/me", who=Worker(), summary="Who am I")
def me(session: Session, caller: WorkerCaller) -> list[str]:
    return [str(caller.worker_id), caller.install_id, str(caller.device_key_id)]


@get("/standing", who=Worker(banned_allowed=True), summary="For banned workers too")
def standing(session: Session, caller: WorkerCaller) -> str:
    return "here"


@pytest.fixture
def client(serve: Any) -> Any:
    from api.auth import worker_routes

    routes = (worker_routes.request_code, worker_routes.sign_in, worker_routes.refresh, worker_routes.sign_out)
    with serve(me, standing, *routes) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def device_key(code: str, **changes: str) -> tuple[dict[str, str], bytes]:
    private = ec.generate_private_key(ec.SECP256R1())
    public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    fields = {"email": EMAIL, "code": code, "install_id": "install-0001", **changes}
    message = crypto.frame("fw.enrol.v1", fields["email"], fields["code"], fields["install_id"])
    proof = private.sign(message, ec.ECDSA(hashes.SHA256()))
    return {"public_key": base64.b64encode(public).decode(), "proof": base64.b64encode(proof).decode()}, public


class TestCodes:
    def test_a_code_signs_in_and_makes_the_worker(self, client: Any, sign_in: Any) -> None:
        ana = sign_in()
        assert ana.tokens["expires_in"] == 900
        assert client.get("/me", headers=ana.headers).json() == [str(ana.id), "install-0001", "None"]
        assert sign_in("ANA@example.org").id == ana.id
        assert sign_in("ben@example.org").id != ana.id

    def test_the_answer_tells_nothing_about_the_address(self, client: Any, sign_in: Any) -> None:
        sign_in()
        known, unknown = (client.post(CODES, json={"email": e}) for e in (EMAIL, "nobody@example.org"))
        assert (known.status_code, known.json()) == (unknown.status_code, unknown.json())

    def test_the_code_stands_nowhere_but_in_the_mail(self, client: Any, mailed_code: Any) -> None:
        client.post(CODES, json={"email": EMAIL})
        code = mailed_code(EMAIL)
        with db.transaction() as session:
            event = session.scalars(select(Event).where(Event.type == codes.REQUESTED)).one()
            rows = session.execute(text("SELECT string_agg(c::text, ' ') FROM login_codes c")).scalar_one()
        assert (event.data, EMAIL in event.subject, code in rows.replace("-", " ").split()) == ({}, False, False)

    def test_a_code_works_once(self, client: Any, sign_in_body: Any) -> None:
        body = sign_in_body()
        assert client.post(TOKENS, json=body).status_code == 201
        again = client.post(TOKENS, json=body)
        assert (again.status_code, again.json()["type"]) == (401, "/problems/wrong-code")

    def test_asking_again_mails_the_same_code_again_and_no_sooner_than_after_30_seconds(
        self, client: Any, sign_in_body: Any
    ) -> None:
        def mails() -> int:
            return len(list(mail.folder().glob("*.eml")))

        before = mails()
        first, at_once = sign_in_body(), sign_in_body()
        assert mails() - before == 1
        clock.shift(timedelta(minutes=9))
        later = sign_in_body()
        assert mails() - before == 2
        assert first == at_once == later
        clock.shift(timedelta(minutes=18))  # good for ten minutes from the last mail
        assert client.post(TOKENS, json=first).status_code == 201

    def test_strangers_who_ask_for_an_address_do_not_lock_its_owner_out(self, client: Any, sign_in_body: Any) -> None:
        for minute in range(0, 59, 2):
            clock.shift(timedelta(minutes=minute))
            assert client.post(CODES, json={"email": EMAIL}).status_code == 202
        assert client.post(TOKENS, json=sign_in_body()).status_code == 201
        with db.transaction() as session:
            assert session.scalars(select(func.count()).select_from(LoginCode)).one() == 1

    def test_only_the_newest_code_counts(self, client: Any, sign_in_body: Any) -> None:
        first = sign_in_body()
        clock.shift(timedelta(minutes=11))
        second = sign_in_body()
        assert client.post(TOKENS, json=first).status_code == 401
        assert client.post(TOKENS, json=second).status_code == 201

    def test_ten_minutes_later_it_is_too_old(self, client: Any, sign_in_body: Any) -> None:
        body = sign_in_body()
        clock.shift(timedelta(minutes=10))
        assert client.post(TOKENS, json=body).status_code == 401

    def test_five_wrong_tries_use_it_up(self, client: Any, sign_in_body: Any) -> None:
        body = sign_in_body()
        wrong = f"{(int(body['code']) + 1) % 1_000_000:06d}"
        for _ in range(5):
            assert client.post(TOKENS, json={**body, "code": wrong}).status_code == 401
        assert client.post(TOKENS, json=body).status_code == 401

    def test_an_address_gets_five_new_codes_an_hour(self, client: Any, sign_in: Any) -> None:
        for _ in range(5):
            sign_in()
        for _ in range(2):
            assert client.post(CODES, json={"email": EMAIL}).status_code == 202
        with db.transaction() as session:
            assert session.scalars(select(func.count()).select_from(LoginCode)).one() == codes.PER_HOUR
            asked = session.scalars(select(func.count()).where(Event.type == codes.REQUESTED)).one()
        assert asked == codes.PER_HOUR

    @pytest.mark.parametrize(
        ("error", "again"),
        [
            (smtplib.SMTPRecipientsRefused({EMAIL: (550, b"no such user " + EMAIL.encode())}), False),
            (smtplib.SMTPRecipientsRefused({EMAIL: (450, b"come back " + EMAIL.encode())}), True),
            (smtplib.SMTPDataError(554, f"refused for {EMAIL}"), False),
            (smtplib.SMTPDataError(452, f"too busy for {EMAIL}"), True),
            (smtplib.SMTPNotSupportedError(f"cannot carry {EMAIL}"), False),
            (smtplib.SMTPAuthenticationError(535, "wrong password"), True),
            (UnicodeEncodeError("ascii", EMAIL, 0, 1, "no"), False),
            (ConnectionRefusedError(f"while mailing {EMAIL}"), True),
        ],
    )
    def test_what_the_mail_server_refuses_for_good_is_not_tried_again(
        self, client: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, again: bool
    ) -> None:
        def send(**_: str) -> None:
            raise error

        monkeypatch.setattr(mail, "send", send)
        client.post(CODES, json={"email": EMAIL})
        with db.transaction() as session:
            event_id = session.scalars(select(Event.id).where(Event.type == codes.REQUESTED)).one()
        expected = pytest.raises(background.NotMailed) if again else contextlib.nullcontext()
        with capture_logs() as lines, expected as raised:
            background.send_code(event_id)
        if raised is not None:
            assert EMAIL not in "".join(traceback.format_exception(raised.value))
            assert raised.value.__context__ is None
        assert bool(lines) is not again
        assert EMAIL not in str(lines)

    def test_a_code_that_has_expired_is_not_mailed(self, client: Any) -> None:
        client.post(CODES, json={"email": EMAIL})
        before = len(list(mail.folder().glob("*.eml")))
        clock.shift(timedelta(minutes=11))
        with db.transaction() as session:
            event_id = session.scalars(select(Event.id).where(Event.type == codes.REQUESTED)).one()
        background.send_code(event_id)
        assert len(list(mail.folder().glob("*.eml"))) == before

    def test_a_code_is_mailed_once_even_if_the_call_comes_twice(self, client: Any, mailed_code: Any) -> None:
        client.post(CODES, json={"email": EMAIL})
        mailed_code(EMAIL)
        before = len(list(mail.folder().glob("*.eml")))
        mailed_code(EMAIL)
        assert len(list(mail.folder().glob("*.eml"))) == before


class TestDeviceKey:
    def test_is_registered_with_its_proof(self, client: Any, sign_in_body: Any) -> None:
        body = sign_in_body()
        key, public = device_key(body["code"])
        tokens = client.post(TOKENS, json={**body, "device_key": key}).json()
        assert tokens["device_key_id"].startswith("dvk_")
        with db.transaction() as session:
            stored = session.execute(text("SELECT id, worker_id, public_key FROM device_keys")).one()
        assert ids.show("dvk", stored.id) == tokens["device_key_id"]
        assert (ids.show("wkr", stored.worker_id), stored.public_key) == (tokens["worker_id"], public)
        assert client.get("/me", headers=bearer(tokens["access_token"])).json()[2] == str(stored.id)

    @pytest.mark.parametrize(
        "signed", [{"email": "ben@example.org"}, {"code": "abcdef"}, {"install_id": "install-9999"}]
    )
    def test_a_proof_of_something_else_is_refused_and_leaves_the_code(
        self, client: Any, sign_in_body: Any, signed: dict[str, str]
    ) -> None:
        body = sign_in_body()
        key, _ = device_key(**{"code": body["code"], **signed})
        refused = client.post(TOKENS, json={**body, "device_key": key})
        assert (refused.status_code, refused.json()["type"]) == (422, "/problems/bad-proof")
        assert client.post(TOKENS, json=body).status_code == 201

    def test_garbage_is_refused(self, client: Any, sign_in_body: Any) -> None:
        body = sign_in_body()
        for key in ({"public_key": "%%%", "proof": "AA=="}, {"public_key": "AAAA", "proof": "AAAA"}):
            assert client.post(TOKENS, json={**body, "device_key": key}).status_code == 422


class TestRefresh:
    def test_gives_the_next_pair(self, client: Any, sign_in: Any) -> None:
        ana = sign_in()
        body = {"refresh_token": ana.tokens["refresh_token"], "install_id": "install-0001"}
        fresh = client.post(REFRESH, json=body)
        assert fresh.status_code == 200
        assert fresh.json()["worker_id"] == ana.tokens["worker_id"]
        assert fresh.json()["refresh_token"] != ana.tokens["refresh_token"]
        assert client.get("/me", headers=bearer(fresh.json()["access_token"])).status_code == 200

    def test_a_token_used_twice_ends_the_whole_sign_in(self, client: Any, sign_in: Any) -> None:
        ana = sign_in()
        stolen = {"refresh_token": ana.tokens["refresh_token"], "install_id": "install-0001"}
        fresh = client.post(REFRESH, json=stolen).json()
        assert client.post(REFRESH, json=stolen).status_code == 401
        rightful = {"refresh_token": fresh["refresh_token"], "install_id": "install-0001"}
        assert client.post(REFRESH, json=rightful).status_code == 401
        assert client.get("/me", headers=bearer(fresh["access_token"])).status_code == 401

    def test_another_installation_ends_it_too(self, client: Any, sign_in: Any) -> None:
        ana = sign_in()
        body = {"refresh_token": ana.tokens["refresh_token"], "install_id": "install-0002"}
        assert client.post(REFRESH, json=body).status_code == 401
        assert client.get("/me", headers=ana.headers).status_code == 401

    def test_a_token_we_did_not_make_ends_nothing(self, client: Any, sign_in: Any) -> None:
        ana = sign_in()
        good = ana.tokens["refresh_token"]
        for bad in (good[:-2] + ("AA" if good[-2:] != "AA" else "BB"), good[4:], "fwr_", "fwr_ä", "x" * 200):
            refused = client.post(REFRESH, json={"refresh_token": bad, "install_id": "install-0001"})
            assert (refused.status_code, refused.json()["type"]) == (401, "/problems/bad-refresh-token")
        assert client.get("/me", headers=ana.headers).status_code == 200

    def test_a_sign_in_unused_for_thirty_days_ends(self, client: Any, sign_in: Any) -> None:
        ana = sign_in()
        clock.shift(timedelta(days=30, seconds=1))
        body = {"refresh_token": ana.tokens["refresh_token"], "install_id": "install-0001"}
        assert client.post(REFRESH, json=body).status_code == 401

    def test_signing_in_again_on_the_same_installation_ends_the_former(self, client: Any, sign_in: Any) -> None:
        first, other = sign_in(), sign_in(EMAIL, "install-0002")
        second = sign_in()
        statuses = [client.get("/me", headers=who.headers).status_code for who in (first, other, second)]
        assert statuses == [401, 200, 200]


class TestAccessToken:
    def test_expires_after_fifteen_minutes(self, client: Any, sign_in: Any) -> None:
        ana = sign_in()
        clock.shift(timedelta(minutes=14))
        assert client.get("/me", headers=ana.headers).status_code == 200
        clock.shift(timedelta(minutes=15, seconds=1))
        assert client.get("/me", headers=ana.headers).status_code == 401

    def test_must_be_signed_by_us_for_this(self, client: Any, sign_in: Any) -> None:
        ana = sign_in()
        claims = jwt.decode(ana.tokens["access_token"], options={"verify_signature": False})
        key = sessions._signing_key()
        forged = [
            jwt.encode(claims, "k" * 32, algorithm="HS256"),
            jwt.encode(claims, settings().secret_key.get_secret_value(), algorithm="HS256"),
            jwt.encode(claims, None, algorithm="none"),
            jwt.encode({**claims, "aud": "elsewhere"}, key, algorithm="HS256"),
            jwt.encode({**claims, "sid": "x"}, key, algorithm="HS256"),
            jwt.encode({n: v for n, v in claims.items() if n != "exp"}, key, algorithm="HS256"),
        ]
        for token in forged:
            assert client.get("/me", headers=bearer(token)).status_code == 401
        assert client.get("/me", headers=ana.headers).status_code == 200

    def test_ends_with_sign_out(self, client: Any, sign_in: Any) -> None:
        ana = sign_in()
        assert client.post("/v1/worker/auth/sign-out", headers=ana.headers).status_code == 204
        assert client.get("/me", headers=ana.headers).status_code == 401
        body = {"refresh_token": ana.tokens["refresh_token"], "install_id": "install-0001"}
        assert client.post(REFRESH, json=body).status_code == 401

    def test_of_a_banned_worker_opens_only_what_is_theirs(self, client: Any, sign_in: Any) -> None:
        ana = sign_in()
        ban(ana.id)
        refused = client.get("/me", headers=ana.headers)
        assert (refused.status_code, refused.json()["type"]) == (403, "/problems/banned")
        assert client.get("/standing", headers=ana.headers).status_code == 200
        assert sign_in().id == ana.id  # they may sign in again to appeal


def ban(worker_id: UUID) -> None:
    with db.transaction() as session:
        session.execute(
            text("UPDATE workers SET state = 'banned', banned_at = now(), ban_reason = 'fraud' WHERE id = :id"),
            {"id": worker_id},
        )


def test_what_has_expired_is_forgotten(client: Any, sign_in: Any) -> None:
    sign_in()
    clock.shift(timedelta(days=61))
    background.forget_expired()
    with db.transaction() as session:
        for table in ("login_codes", "worker_sessions"):
            assert session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0
