"""
The edge: how every route is declared and what happens around its function.

    @post("/v1/jobs", who=Buyer("jobs:write"), summary="Create a job")
    def create(session: Session, caller: BuyerCaller, now: datetime, data: JobDraft) -> JobView: ...

    @get("/v1/jobs/{job_id:str}", who=Buyer("jobs:read"), summary="Read a job", waits=True)
    def read(session: Session, caller: BuyerCaller, job_id: JobId) -> JobView: ...

The function is called with what it declares: `session`, `caller`, `now`, `request`, `data` (the JSON body), the names in
the path, and anything else from the query (`limit: Annotated[int, Field(ge=1, le=100)] = 20`).

In this order, in one thread: rate limit; one transaction: who is calling, idempotency, the function, its answer serialised;
COMMIT; only then the answer is sent, so a COMMIT that fails is a 500. A function that declares no `session` runs outside
any transaction, so it may use the network and open `db.transaction()` itself. One that waits for nothing may run `at_once`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from litestar import Response
from litestar.concurrency import sync_to_thread
from litestar.handlers import HTTPRouteHandler
from litestar.params import RawBody
from pydantic import BaseModel

from api import answers, idempotency, limits, waiting
from api.answers import Answer, AnyRequest
from api.auth.callers import BuyerCaller, Caller, Who, stranger
from api.declared import BadRoute, Declared, take_apart
from api.problems import BODY_BYTES
from infra import clock, db
from infra.errors import Unauthorized

Function = Callable[..., Any]
ENDPOINT = "endpoint"


@dataclass(frozen=True)
class Endpoint:
    """One route: where it is, who may call it, what it calls."""

    method: str
    path: str
    who: Who
    status: int
    summary: str
    waits: bool
    at_once: bool
    declared: Declared

    @property
    def name(self) -> str:
        """Unique name, `buyer_jobs_create` for `api.buyer.jobs.create`; the OpenAPI operation id."""
        function = self.declared.function
        module = function.__module__.removeprefix("api.").replace(".", "_").removesuffix("_routes")
        return f"{module}_{function.__name__}"

    def answer(self, request: AnyRequest, body: bytes) -> Answer:
        """Everything from the rate limit to the committed answer. Runs in a thread of the pool."""
        self.admit(request)
        return self.run(request, body)

    def admit(self, request: AnyRequest) -> None:
        """Count the request under its caller, or under its address if it does not say who calls."""
        if self.who.guessable:
            limits.check(request, limits.of_guesses(request))
        try:
            bucket = self.who.bucket(request)
        except Unauthorized:
            limits.take(request, limits.of_address(request))
            raise
        if bucket is not None:
            limits.take(request, bucket)

    def run(self, request: AnyRequest, body: bytes) -> Answer:
        """Authenticate, call and serialise, in one transaction if the function holds the session."""
        try:
            run = self._inside if self.declared.holds_session else self._outside
            return run(request, body)
        except Unauthorized:
            if self.who.scheme is not None:  # guessing credentials is counted under the address
                wrong = limits.of_guesses if self.who.guessable else limits.of_address
                limits.take(request, wrong(request))
            raise

    def _inside(self, request: AnyRequest, body: bytes) -> Answer:
        now = clock.now()
        with db.transaction() as session:
            caller = self.who.authenticate(session, request, now)
            key = self._idempotency_key(request, caller, body)
            if key is not None and (earlier := idempotency.begin(session, key, now=now)):
                return earlier
            result = self.declared.call(request, body, session=session, caller=caller, now=now)
            answer = self._serialise(result)
            if key is not None:
                idempotency.finish(session, key, answer)
        return answer

    def _outside(self, request: AnyRequest, body: bytes) -> Answer:
        now = clock.now()
        if self.who.scheme is None:  # nothing to look up: health answers without a database
            return self._serialise(self.declared.call(request, body, session=None, caller=stranger(request), now=now))
        with db.transaction() as session:
            caller = self.who.authenticate(session, request, now)
            key = self._idempotency_key(request, caller, body)
            if key is not None and (earlier := idempotency.begin(session, key, now=now)):
                return earlier
        try:
            result = self.declared.call(request, body, session=None, caller=caller, now=now)
            answer = self._serialise(result)
        except BaseException:
            if key is not None:
                with db.transaction() as session:
                    idempotency.forget(session, key)
            raise
        if key is not None:
            with db.transaction() as session:
                idempotency.finish(session, key, answer)
        return answer

    def _idempotency_key(self, request: AnyRequest, caller: Caller, body: bytes) -> idempotency.Key | None:
        if self.method != "POST" or not isinstance(caller, BuyerCaller):
            return None
        return idempotency.key_of(request, body, organization_id=caller.organization_id, key_id=caller.key_id)

    def _serialise(self, result: Any) -> Answer:
        if isinstance(result, Response):
            rendered = result.render(result.content, result.media_type or "text/plain")
            return Answer(result.status_code or self.status, rendered, str(result.media_type), dict(result.headers))
        if self.declared.answer is None:
            return Answer(self.status)
        if isinstance(result, BaseModel):
            return Answer(self.status, result.model_dump_json(by_alias=True).encode())
        return Answer(self.status, self.declared.answer.dump_json(result, by_alias=True))


def get(
    path: str, *, who: Who, summary: str, waits: bool = False, at_once: bool = False
) -> Callable[[Function], HTTPRouteHandler]:
    """
    A read. Answers carry an ETag; 304 when `If-None-Match` names it.

    :param waits: honour `Prefer: wait=N`: hold the answer until it differs from the one known, or N seconds passed
    :param at_once: run it on the event loop, so that it answers while all threads wait; it must not wait for anything
    """
    return _route("GET", path, who=who, status=200, summary=summary, waits=waits, at_once=at_once)


def post(
    path: str, *, who: Who, summary: str, status: int = 201, body_bytes: int = BODY_BYTES
) -> Callable[[Function], HTTPRouteHandler]:
    """A change. Those of buyers honour `Idempotency-Key`."""
    return _route("POST", path, who=who, status=status, summary=summary, body_bytes=body_bytes)


def patch(path: str, *, who: Who, summary: str, status: int = 200) -> Callable[[Function], HTTPRouteHandler]:
    """A change of some members."""
    return _route("PATCH", path, who=who, status=status, summary=summary)


def put(path: str, *, who: Who, summary: str, status: int = 200) -> Callable[[Function], HTTPRouteHandler]:
    """A replacement, or a setting that is the same however often it is made."""
    return _route("PUT", path, who=who, status=status, summary=summary)


def delete(path: str, *, who: Who, summary: str, status: int = 204) -> Callable[[Function], HTTPRouteHandler]:
    """A removal. Return None with 204, or a view with `status=200`."""
    return _route("DELETE", path, who=who, status=status, summary=summary)


def endpoint_of(handler: Any) -> Endpoint:
    """
    The endpoint behind a handler.

    :raises BadRoute: it was not declared with the decorators of this module
    """
    found = getattr(handler, "opt", {}).get(ENDPOINT)
    if not isinstance(found, Endpoint):
        raise BadRoute(f"{handler} does not say who may call it: declare it with api.edge")
    return found


def _route(
    method: str,
    path: str,
    *,
    who: Who,
    status: int,
    summary: str,
    waits: bool = False,
    at_once: bool = False,
    body_bytes: int = BODY_BYTES,
) -> Callable[[Function], HTTPRouteHandler]:
    if not isinstance(who, Who):
        raise BadRoute(f"{method} {path}: who may call it? Say Anyone(), Buyer(…), Worker() or Staff()")

    def declare(function: Function) -> HTTPRouteHandler:
        declared = take_apart(function, path, who)
        if (status == 204) != (declared.answer is None) and not declared.raw:
            raise BadRoute(f"{method} {path}: 204 goes with `-> None`, and only that")
        if at_once and (who.scheme is not None or who.limited or declared.holds_session):
            raise BadRoute(f"{method} {path}: at once goes with nobody to look up, no limit to count and no session")
        endpoint = Endpoint(method, path, who, status, summary, waits, at_once, declared)
        make = _reader if method == "GET" else _writer
        return HTTPRouteHandler(
            path,
            http_method=method,  # type: ignore[arg-type]
            status_code=200,  # the answer brings its own
            request_max_body_size=body_bytes,
            include_in_schema=False,  # api/openapi.py writes the document
            opt={ENDPOINT: endpoint},
        )(make(endpoint))

    return declare


def _reader(endpoint: Endpoint) -> Function:
    async def read(request: AnyRequest) -> Response[Any]:
        if endpoint.at_once:
            answer = endpoint.answer(request, b"")
        else:
            answer = await sync_to_thread(endpoint.answer, request, b"")
        known = request.headers.get("if-none-match")
        if endpoint.waits:
            caller = (endpoint.who.bucket(request) or limits.of_address(request)).name
            answer = await waiting.for_change(request, caller, answer, known, lambda: endpoint.run(request, b""))
        return answers.conditional(answer, known).response()

    return read


def _writer(endpoint: Endpoint) -> Function:
    async def write(request: AnyRequest, body: RawBody) -> Response[Any]:
        return (await sync_to_thread(endpoint.answer, request, bytes(body))).response()

    return write
