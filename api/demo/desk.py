"""A reviewer's desk: password, authenticator app and HTTP."""

from dataclasses import dataclass, field

import httpx
import pyotp

from api.demo.phone import Json, answer_of


@dataclass
class Desk:
    """What staff do. `otpauth`: the address their authenticator app scanned."""

    http: httpx.Client
    email: str
    password: str = field(repr=False)
    otpauth: str = field(repr=False)
    token: str = field(default="", repr=False)

    def sign_in(self) -> None:
        app = pyotp.parse_uri(self.otpauth)
        assert isinstance(app, pyotp.TOTP)
        credentials = {"email": self.email, "password": self.password, "totp": app.now()}
        self.token = self.call("POST", "/v1/staff/auth/sessions", credentials)["token"]

    def review_of(self, submission_id: str) -> Json:
        """
        The open review of a submission.

        :raises LookupError: there is none
        """
        for review in self.call("GET", "/v1/staff/reviews?kind=submission&limit=100")["data"]:
            if review["subject_id"] == submission_id:
                return dict(review)
        raise LookupError(f"nobody was asked about {submission_id}")

    def decide(self, review_id: str, decision: str, **more: str | int) -> Json:
        return self.call("POST", f"/v1/staff/reviews/{review_id}/decision", {"decision": decision, **more})

    def fail_next_cashout(self, worker_id: str, reason: str) -> None:
        """Tell the sandbox rail to refuse this worker's next cashout."""
        self.call("POST", "/v1/staff/sandbox/cashout-faults", {"worker_id": worker_id, "reason": reason})

    def call(self, method: str, path: str, body: Json | None = None) -> Json:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return answer_of(self.http.request(method, path, json=body, headers=headers))
