"""How the server logs: one line per event on standard error.

For people on a terminal, as JSON lines otherwise. Both structlog and the standard library's
loggers end here, so that what uvicorn or asyncio says looks like the rest. What is logged is
named field by field: never a request's headers or body, so no credential gets in.
"""

import logging
import sys
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote_plus

import structlog
from structlog.typing import Processor

if TYPE_CHECKING:
    from nuska.transport.server.exchange import Exchange

Format = Literal["auto", "human", "json"]

access = logging.getLogger("nuska.access")

_SIGNATURE = "signature"
_OF_LINKS = frozenset({_SIGNATURE, "expires", "methods", "paths", "project_id", "project"})
"""Parameters of links that are a credential: pre-signed URLs, and the page of confirmations."""


def set_up_logging(form: Format = "auto", level: str = "info") -> None:
    """Take over the root logger of this process."""
    human = form == "human" or (form == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso"),
    ]
    last: list[Processor] = (
        [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
        if human
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    access.setLevel(logging.INFO)  # whoever asks for it wants it at any level
    # uvicorn looks at its own logger's level at every connection to see whether to trace it.
    logging.getLogger("uvicorn.error").setLevel(level.upper())


def log_request(exchange: "Exchange", seconds: float) -> None:
    """One line of the access log. The path is as it was sent: percent-encoded, so one line."""
    scope = exchange.scope
    client = scope["client"]
    access.info(
        "request",
        extra={
            "request_id": exchange.request_id,
            "client": client[0] if client else "unix",
            "method": scope["method"],
            "path": scope["raw_path"].decode("ascii"),
            "query": without_signature(scope["query_string"].decode("ascii")),
            "status": exchange.status,
            "milliseconds": round(seconds * 1000, 1),
        },
    )


def without_signature(query: str) -> str:
    """A query without what a pre-signed link shows: whoever reads the log must not be able to
    follow it. Names are compared as a server reads them."""
    pieces = query.split("&")
    names = [unquote_plus(piece.partition("=")[0]).lower() for piece in pieces]
    if _SIGNATURE not in names:
        return query
    return "&".join(
        f"{name}=***" if name in _OF_LINKS else piece
        for name, piece in zip(names, pieces, strict=True)
    )
