"""
A worker's phone, simulated: its own P-256 key, its own position, nothing but HTTP.

What it signs and sends is what `docs/api.md` tells app developers; it builds every byte itself and imports nothing of the
server, so that a change of the protocol breaks it.
"""

import base64
import hashlib
import struct
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Json = dict[str, Any]


class Refused(Exception):
    """The server answered with a problem document."""

    def __init__(self, status: int, problem: Json) -> None:
        super().__init__(f"{status} {problem.get('title')}: {problem.get('detail')}")
        self.status = status
        self.problem = problem


@dataclass(frozen=True)
class Photo:
    """A file as the camera made it."""

    data: bytes
    media_type: str = "image/jpeg"

    @property
    def sha256(self) -> bytes:
        return hashlib.sha256(self.data).digest()


def frame(*parts: bytes | str | int) -> bytes:
    """Each part preceded by its length, unsigned 32-bit big endian; integers are 8 bytes big endian."""
    plain = [part.to_bytes(8, "big") if isinstance(part, int) else part for part in parts]
    encoded = [part.encode() if isinstance(part, str) else part for part in plain]
    return b"".join(struct.pack(">I", len(part)) + part for part in encoded)


@dataclass
class Phone:
    """One installation of the app on one phone."""

    http: httpx.Client
    email: str
    latitude: float
    longitude: float
    accuracy_m: float = 8.0
    platform: str = "android"
    signs: bool = True
    install_id: str = field(default_factory=lambda: f"install-{uuid.uuid4().hex}")
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()), repr=False)
    counter: int = 0
    worker_id: str = ""
    device_key_id: str | None = None
    access_token: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)

    @property
    def position(self) -> Json:
        return {
            "latitude": self.latitude,
            "longitude": self.longitude,
            "accuracy_m": self.accuracy_m,
            "fix_age_s": 1.0,
            "mocked": False,
        }

    def sign_in(self, read_code: Callable[[str], str]) -> None:
        """Have a code mailed, read it, and enrol the phone's key with it."""
        self.call("POST", "/v1/worker/auth/codes", {"email": self.email})
        code = read_code(self.email)
        public_key = self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        proof = self._sign(frame("fw.enrol.v1", self.email.lower(), code, self.install_id))
        tokens = self.call(
            "POST",
            "/v1/worker/auth/tokens",
            {
                "email": self.email,
                "code": code,
                "device": {"install_id": self.install_id, "platform": self.platform, "model": "simulated"},
                "device_key": {"public_key": _base64(public_key), "proof": _base64(proof)} if self.signs else None,
            },
        )
        self.access_token, self.refresh_token = tokens["access_token"], tokens["refresh_token"]
        self.worker_id, self.device_key_id = tokens["worker_id"], tokens["device_key_id"]

    def feed(self, **query: Any) -> Json:
        """The first page of the feed where the phone is."""
        fix = {**self.position, "mocked": "false"}
        return self.call("GET", "/v1/worker/feed", query={**fix, **query})

    def sees(self, job_id: str) -> bool:
        """Whether a job is in the first hundred of the feed."""
        return any(entry["job_id"] == job_id for entry in self.feed(limit=100)["data"])

    def claim(self, job_id: str) -> Json:
        """Take a slot."""
        return self.call("POST", f"/v1/worker/jobs/{job_id}/claims", {"position": self.position})

    def upload(self, assignment_id: str, photo: Photo, *, captured_at: str | None = None) -> Json:
        """Declare a file and PUT it to storage. Gives the upload with what was declared."""
        declared = {
            "size": len(photo.data),
            "media_type": photo.media_type,
            "sha256": photo.sha256.hex(),
            "captured_at": captured_at,
        }
        upload = self.call("POST", f"/v1/worker/assignments/{assignment_id}/uploads", declared)
        answer = self.http.put(upload["url"], content=photo.data, headers=upload["headers"])
        if answer.status_code != 200:
            raise Refused(answer.status_code, {"title": "storage refused the file", "detail": answer.text})
        return {**upload, "photo": photo}

    def hand_in(
        self, assignment: Json, uploads: Sequence[Json], *, client_id: str | None = None, **changes: Any
    ) -> Json:
        """Sign and submit. `changes` replace members of the request."""
        body = {
            "client_id": client_id or f"client-{uuid.uuid4().hex}",
            "assignment_id": assignment["id"],
            "upload_ids": [upload["id"] for upload in uploads],
            "position": self.position,
            "assertion": self.attest(assignment, uploads) if self.signs else None,
        }
        return self.call("POST", "/v1/worker/submissions", {**body, **changes})

    def attest(self, assignment: Json, uploads: Sequence[Json]) -> Json:
        """The phone's signature over exactly these files under a fresh challenge."""
        challenge = self.call("POST", f"/v1/worker/assignments/{assignment['id']}/challenges")
        self.counter += 1
        parts: list[bytes | str | int] = [
            "fw.submission.v1",
            bytes.fromhex(challenge["nonce"]),
            assignment["id"],
            assignment["task_id"],
            self.counter,
        ]
        for upload in uploads:
            photo: Photo = upload["photo"]
            parts += [upload["id"], photo.sha256, len(photo.data), photo.media_type, 0]
        return {
            "key_id": self.device_key_id,
            "challenge_id": challenge["id"],
            "counter": self.counter,
            "signature": _base64(self._sign(frame(*parts))),
        }

    def send(self, job_id: str, *photos: Photo) -> Json:
        """Claim, upload and hand in."""
        assignment = self.claim(job_id)
        return self.hand_in(assignment, [self.upload(assignment["id"], photo) for photo in photos])

    def await_verdict(self, submission_id: str, *, seconds: int = 60) -> Json:
        """The submission once it is no longer pending, or after so many seconds."""
        return self.await_end(f"/v1/worker/submissions/{submission_id}", running=("pending",), seconds=seconds)

    def await_end(self, path: str, *, running: Collection[str], seconds: int) -> Json:
        """What stands there once its state is no longer one of these (or after so many seconds), as long polls bring it."""
        answer = self._send("GET", path)
        found = answer_of(answer)
        while found["state"] in running and seconds > 0:
            # Naming what is known: a change that came between two polls is then answered at once.
            known = {"Prefer": f"wait={min(seconds, 5)}", "If-None-Match": answer.headers["etag"]}
            seconds -= 5
            later = self._send("GET", path, headers=known)
            if later.status_code != 304:
                answer, found = later, answer_of(later)
        return found

    def call(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        query: Json | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        """One request as this worker. 204 gives an empty object."""
        return answer_of(self._send(method, path, body, query=query, headers=headers))

    def _send(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        query: Json | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        sent = dict(headers or {})
        if self.access_token:
            sent["Authorization"] = f"Bearer {self.access_token}"
        return self.http.request(method, path, json=body, params=query, headers=sent)

    def _sign(self, message: bytes) -> bytes:
        return self.key.sign(message, ec.ECDSA(hashes.SHA256()))


def answer_of(response: httpx.Response) -> Json:
    """
    The JSON of an answer.

    :raises Refused: a problem document
    """
    if response.status_code >= 400:
        kind = response.headers.get("content-type", "")
        problem = (
            response.json() if "json" in kind else {"title": response.reason_phrase, "detail": response.text[:500]}
        )
        raise Refused(response.status_code, problem)
    parsed: Json = response.json() if response.content else {}
    return parsed


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
