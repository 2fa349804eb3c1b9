"""Workers sign in: a one-time code to their e-mail, then tokens for one installation of the app."""

import base64
from datetime import datetime
from typing import Annotated, Literal

from pydantic import EmailStr, Field, StringConstraints
from sqlalchemy.orm import Session

from api.auth import codes, sessions
from api.auth.callers import Anyone, Worker, WorkerCaller
from api.auth.codes import WrongCode
from api.auth.sessions import BadRefreshToken, Tokens
from api.edge import post
from api.schemas import DeviceKeyId, Model, WorkerId
from infra import crypto, db
from infra.errors import Invalid
from ingest import devices
from tiering import workers

InstallId = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{8,128}$")]
Base64 = Annotated[str, StringConstraints(max_length=1_000)]


class BadProof(Invalid):
    """The proof does not fit the device key."""


class CodeRequest(Model):
    email: Annotated[EmailStr, Field(max_length=254)]


class Device(Model):
    install_id: Annotated[
        InstallId, Field(description="made by the app at its first start; 8 to 128 visible characters")
    ]
    platform: Literal["ios", "android"]
    model: Annotated[str, Field(max_length=80)] | None = None


class NewDeviceKey(Model):
    public_key: Annotated[Base64, Field(description="base64 of the P-256 public key, DER SubjectPublicKeyInfo")]
    proof: Annotated[
        Base64,
        Field(
            description="base64 of the ECDSA-SHA-256 signature (DER) over frame('fw.enrol.v1', e-mail in lower case, code, "
            "install_id); each part preceded by its length as unsigned 32-bit big endian"
        ),
    ]


class SignIn(Model):
    email: Annotated[EmailStr, Field(max_length=254)]
    code: Annotated[str, StringConstraints(pattern=r"^[0-9]{6}$")]
    device: Device
    device_key: NewDeviceKey | None = None


class Refresh(Model):
    refresh_token: Annotated[str, Field(max_length=200)]
    install_id: InstallId


class TokensView(Model):
    object: Literal["worker_tokens"] = "worker_tokens"
    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the name of the kind
    expires_in: Annotated[int, Field(description="seconds")]
    refresh_token: str
    worker_id: WorkerId
    device_key_id: DeviceKeyId | None = None


class CodeAccepted(Model):
    object: Literal["code_request"] = "code_request"
    sent: Literal[True] = True


@post("/v1/worker/auth/codes", who=Anyone(), status=202, summary="Have a sign-in code mailed")
def request_code(session: Session, now: datetime, data: CodeRequest) -> CodeAccepted:
    """The answer is the same whether or not the address is known."""
    codes.request(session, email=str(data.email), now=now)
    return CodeAccepted()


@post("/v1/worker/auth/tokens", who=Anyone(), summary="Sign in with the code")
def sign_in(now: datetime, data: SignIn) -> TokensView:
    """
    Exchange the mailed code for tokens; a new address becomes a new worker. A device key given here is registered for
    signing submissions.
    """
    email = str(data.email).lower()
    public_key = None if data.device_key is None else _proven_key(data.device_key, email, data)
    with db.transaction() as session:  # a wrong try is counted and committed, so the refusal comes after
        right = codes.take(session, email=email, digits=data.code, now=now)
        view = _signed_in(session, email, data.device, public_key, now) if right else None
    if view is None:
        raise WrongCode("It is wrong, was used, is too old, or was tried too often. Ask for a new one.")
    return view


@post("/v1/worker/auth/refresh", who=Anyone(), status=200, summary="Get the next pair of tokens")
def refresh(now: datetime, data: Refresh) -> TokensView:
    """Each refresh token works once. Using one again ends the sign-in, since a copy of it must be about."""
    with db.transaction() as session:  # ending the session is committed, so the refusal comes after
        tokens = sessions.refresh(session, data.refresh_token, install_id=data.install_id, now=now)
        if tokens is not None:
            here = sessions.current(session, sessions.read_access_token(tokens.access), now=now)
            return _view(tokens, here.worker_id, here.device_key_id)
    raise BadRefreshToken("It was used before or elsewhere, so this sign-in has been ended. Sign in again with a code.")


@post("/v1/worker/auth/sign-out", who=Worker(banned_allowed=True), status=204, summary="Sign out")
def sign_out(session: Session, caller: WorkerCaller, now: datetime) -> None:
    """No token of this sign-in is good any more."""
    sessions.end(session, caller.session_id, because="signed out", now=now)


def _signed_in(session: Session, email: str, device: Device, public_key: bytes | None, now: datetime) -> TokensView:
    worker = workers.sign_up(session, email=email, now=now)
    key_id = None
    if public_key is not None:
        key_id = devices.enrol(
            session,
            worker_id=worker.id,
            install_id=device.install_id,
            platform=device.platform,
            public_key=public_key,
            now=now,
        ).id
    _, tokens = sessions.open(
        session,
        worker_id=worker.id,
        install_id=device.install_id,
        platform=device.platform,
        model=device.model,
        device_key_id=key_id,
        now=now,
    )
    return _view(tokens, worker.id, key_id)


def _view(tokens: Tokens, worker_id: WorkerId, device_key_id: DeviceKeyId | None) -> TokensView:
    return TokensView(
        access_token=tokens.access,
        expires_in=tokens.seconds,
        refresh_token=tokens.refresh,
        worker_id=worker_id,
        device_key_id=device_key_id,
    )


def _proven_key(key: NewDeviceKey, email: str, data: SignIn) -> bytes:
    """The public key, once its owner has shown that they hold the private one."""
    try:
        public_key = base64.b64decode(key.public_key, validate=True)
        proof = base64.b64decode(key.proof, validate=True)
    except ValueError:
        raise BadProof("public_key and proof are base64 (RFC 4648, section 4).") from None
    message = crypto.frame("fw.enrol.v1", email, data.code, data.device.install_id)
    if not devices.verify_proof(public_key, message, proof):
        raise BadProof("Sign frame('fw.enrol.v1', e-mail in lower case, code, install_id) with the key you register.")
    return public_key
