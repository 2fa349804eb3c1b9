"""A buyer's script: an API key and HTTP."""

import uuid
from dataclasses import dataclass, field
from typing import Any

import httpx

from api.demo.phone import Json, answer_of


@dataclass
class BuyerScript:
    """What a buyer's program does with an API key."""

    http: httpx.Client
    api_key: str = field(repr=False)

    def post_job(self, **changes: Any) -> Json:
        """Order photos; published at once unless told otherwise."""
        job = {
            "title": "Photos of residential mailboxes in Austin",
            "description": "One clear photo of a mailbox at the street, the whole box in the picture.",
            "files_needed": 10,
            "price_per_file_cents": 50,
            "location": {"latitude": 30.2672, "longitude": -97.7431, "radius_km": 15},
            "publish": True,
        }
        return self.call("POST", "/v1/jobs", {**job, **changes})

    def top_up(self, cents: int) -> Json:
        """Put play money into the wallet."""
        return self.call("POST", "/v1/wallet/sandbox-top-ups", {"amount_cents": cents})

    def call(self, method: str, path: str, body: Json | None = None, **options: Any) -> Json:
        """One request with the key; every POST carries an idempotency key, as a careful script does."""
        headers = {"Authorization": f"Bearer {self.api_key}", **options.pop("headers", {})}
        if method == "POST":
            headers.setdefault("Idempotency-Key", uuid.uuid4().hex)
        return answer_of(self.http.request(method, path, json=body, headers=headers, **options))
