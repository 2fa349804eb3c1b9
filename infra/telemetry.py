"""Structured logs that carry the request's or call's id, and the process's metrics. No personal data in either."""

import logging
import sys
from contextvars import ContextVar

import structlog
from prometheus_client import Counter, Histogram

from infra.settings import settings

_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

REQUESTS = Histogram(
    "footwork_request_seconds",
    "Time to answer a request",
    ["method", "route", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
REFUSALS = Counter("footwork_refusals_total", "Requests refused, by problem type", ["code"])
UNRUNG = Counter("footwork_bells_unrung_total", "Bells that could not be rung because Redis was away")
UNLIMITED = Counter("footwork_rate_limits_skipped_total", "Requests let through because Redis could not count them")


def request_id() -> str | None:
    """Id of the request (or call) this thread is serving."""
    return _request_id.get()


def bind(id: str | None) -> None:
    """Name the request (or call) being served; every log line and event from here on carries it."""
    _request_id.set(id)
    structlog.contextvars.clear_contextvars()
    if id:
        structlog.contextvars.bind_contextvars(request_id=id)


def configure() -> None:
    """Logs go to standard error: one JSON object a line, or text for people."""
    render: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if settings().log_format == "json" else structlog.dev.ConsoleRenderer()
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render]
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings().log_level)
    for noisy in ("botocore", "urllib3", "httpx", "httpcore", "rq.worker", "PIL", "alembic.runtime.plugins"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))


def log(name: str) -> structlog.stdlib.BoundLogger:
    """A logger: `log(__name__).info("job published", job=…)`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
