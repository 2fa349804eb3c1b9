"""The web application: the only place where Litestar is assembled."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from litestar.concurrency import set_asyncio_executor
from litestar.config.cors import CORSConfig
from litestar.handlers import BaseRouteHandler

from api import health, openapi, problems
from api.auth import staff_routes, worker_routes
from api.buyer import keys
from api.edge import Endpoint, endpoint_of
from api.watch import Application
from infra.settings import settings

# Every module with routes. One that is not named here is not served.
MODULES = (health, openapi, worker_routes, staff_routes, keys)


def build() -> Application:
    """
    The application, with a thread pool as large as the database pool.

    :raises BadRoute: a handler does not say who may call it
    """
    set_asyncio_executor(ThreadPoolExecutor(settings().threads, thread_name_prefix="request"))
    found = list(handlers())
    for handler in found:
        endpoint_of(handler)
    origins = settings().cors_origins
    return Application(
        route_handlers=found,
        exception_handlers=problems.HANDLERS,
        openapi_config=None,  # api/openapi.py writes the document
        request_max_body_size=problems.BODY_BYTES,
        cors_config=CORSConfig(allow_origins=origins) if origins else None,
        logging_config=None,
        debug=False,
    )


def handlers() -> Iterable[BaseRouteHandler]:
    """The route handlers of all modules, in the order of the list and of their definition."""
    for module in MODULES:
        yield from (value for value in vars(module).values() if isinstance(value, BaseRouteHandler))


def endpoints() -> list[Endpoint]:
    """All endpoints, for documentation and tests."""
    return [endpoint_of(handler) for handler in handlers()]
