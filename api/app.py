"""The web application: the only place where Litestar is assembled."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from types import ModuleType

from litestar.concurrency import set_asyncio_executor
from litestar.config.cors import CORSConfig
from litestar.handlers import BaseRouteHandler

from api import health, openapi, problems
from api.auth import staff_routes, worker_routes
from api.buyer import jobs, keys, submissions, wallet
from api.edge import endpoint_of
from api.staff import reviews, sandbox
from api.watch import Application
from api.webhooks import routes as webhooks
from api.worker import assignments, earnings, feed, standing
from api.worker import submissions as worker_submissions
from infra.settings import settings

# Every module with routes. One that is not named here is not served.
MODULES = (
    health,
    openapi,
    worker_routes,
    staff_routes,
    keys,
    jobs,
    submissions,
    wallet,
    webhooks,
    feed,
    assignments,
    worker_submissions,
    standing,
    earnings,
    reviews,
    sandbox,
)

# What a browser app may read of an answer from another origin.
EXPOSED = [
    "ETag",
    "Idempotent-Replay",
    "Preference-Applied",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Retry-After",
    "X-Request-Id",
]


def build(modules: Iterable[ModuleType] = MODULES) -> Application:
    """
    The application, with a thread pool as large as the database pool.

    :raises BadRoute: a handler does not say who may call it
    """
    set_asyncio_executor(_pool(settings().threads))
    found = list(handlers(modules))
    for handler in found:
        endpoint_of(handler)
    origins = settings().cors_origins
    return Application(
        route_handlers=found,
        exception_handlers=problems.HANDLERS,
        openapi_config=None,  # api/openapi.py writes the document
        request_max_body_size=problems.BODY_BYTES,
        cors_config=CORSConfig(allow_origins=origins, expose_headers=EXPOSED) if origins else None,
        logging_config=None,
        debug=False,
    )


def handlers(modules: Iterable[ModuleType]) -> Iterator[BaseRouteHandler]:
    """The route handlers of these modules, in the order of the list and of their definition."""
    for module in modules:
        yield from (value for value in vars(module).values() if isinstance(value, BaseRouteHandler))


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="request")
