"""What a row of the route table is, and the query parameters that several rows share."""

from collections.abc import Awaitable, Callable
from enum import Enum, auto

from falcon.asgi import Response
from msgspec import Struct

from nuska.core import Core
from nuska.domain.limits import Limits
from nuska.transport.http.query import Kind, Parameter
from nuska.transport.http.request import ApiRequest

Handler = Callable[[Core, ApiRequest, Response], Awaitable[None]]


class Admits(Enum):
    """Which of the checks a route makes."""

    ANY_REQUEST = auto()
    """Only that the answer is acceptable: the version documents."""
    ANYBODY = auto()
    """No Client-ID, project or token, but no pre-signed request either."""
    PEOPLE = auto()
    """Any browser: a page, which is no part of the API and not described with it."""
    CALLERS = auto()
    """Everything."""
    CALLERS_OR_SIGNED = auto()
    """Everything; a pre-signed request that verifies stands for a caller of its project."""
    LISTENERS = auto()
    """The same for event streams, whose clients cannot send headers: no Client-ID, and where
    claims are believed the query may name the project."""


class Operation(Struct, frozen=True, kw_only=True):
    """One method of a route."""

    method: str
    handler: Handler
    name: str
    """Its ``operationId``."""
    summary: str
    action: str | None = None
    """The policy in ``core/access.py``; None where nobody is asked who they are."""
    query: tuple[Parameter, ...] = ()
    filters: bool = False
    """Every other query parameter is a filter on metadata."""
    body: str | None = None
    """Schema of the request body."""
    body_required: bool = False
    body_type: str = "application/json"
    idempotent_by_key: bool = False
    """It takes an ``Idempotency-Key``."""
    answers: dict[int, str | None] = {}
    """Schema of the reply by status of success, None without a body."""
    refusals: tuple[int, ...] = ()
    """Statuses besides those of every call."""
    answer_type: str = "application/json"
    relation: str | None = None
    """Its relation in the home document."""
    relation_query: str = ""


class Route(Struct, frozen=True):
    """One path."""

    path: str
    operations: tuple[Operation, ...]
    admits: Admits = Admits.CALLERS
    adds: bool = False
    """Zaqar has no such route: its clients need not understand the answers."""

    @property
    def allow(self) -> str:
        """The ``Allow`` header."""
        return ", ".join([operation.method for operation in self.operations] + ["OPTIONS"])


MARKER = Parameter("marker", Kind.TEXT, "Continue after this: the marker of a next link.")
IDS = Parameter(
    "ids",
    Kind.LIST,
    "Message ids, separated by commas.",
    highest=lambda limits: limits.max_messages_per_page,
)
LONGEST_ASKED = 2**31 - 1
"""Seconds of ``wait``. What is longer than the server's ``max_wait`` is cut to it; what is
longer than this is no wait but a mistake."""
WAIT = Parameter(
    "wait",
    Kind.INTEGER,
    "Long poll: when there is nothing, wait up to this many seconds for something.",
    lowest=0,
    highest=lambda _: LONGEST_ASKED,
)
ATTRIBUTES = Parameter(
    "attributes", Kind.BOOLEAN, "Show the attributes of messages, and why one is a dead letter."
)


def limit(highest: Callable[[Limits], int]) -> Parameter:
    return Parameter(
        "limit", Kind.INTEGER, "How many items there are at most.", lowest=1, highest=highest
    )


def per_claim_or_pop(limits: Limits) -> int:
    return limits.max_messages_per_claim_or_pop


QUEUE_PATH = "/v2/queues/{queue_name}"
