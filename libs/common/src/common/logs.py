"""JSON logs: an event name and fields, one object a line; request id and run id come along."""

import logging
import sys
from contextvars import ContextVar
from typing import Any

import structlog
from structlog.tracebacks import ExceptionDictTransformer

_context: ContextVar[dict[str, Any]] = ContextVar("fields of the request at hand", default={})  # noqa: B039


def configure(service: str, level: str = "INFO") -> None:
    """Set logging up for a process; libraries' own records come out in the same shape."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _with_context,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        # Never the values of local variables: they hold tokens, keys and passwords.
        structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
        _named(service),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    drop_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    render: list[Any] = [drop_meta, structlog.processors.JSONRenderer()]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=render, foreign_pre_chain=shared))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for noisy in ("botocore", "urllib3", "alembic.runtime.migration"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _named(service: str) -> Any:
    def add(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
        event["service"] = service
        return event

    return add


def bind(**fields: Any) -> None:
    """Have every line that follows in this request say these fields, and no others bound before."""
    _context.set(fields)


def _with_context(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    return {**_context.get(), **event}


def get_logger() -> Any:
    """The logger of a module; fields are given with the event, never formatted into it."""
    return structlog.get_logger()
