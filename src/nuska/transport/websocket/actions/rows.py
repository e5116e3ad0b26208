"""What a row of the table of actions is, and how a request is held to it."""

from collections.abc import Awaitable, Callable
from enum import Enum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from msgspec import Struct

from nuska.transport.websocket.frames import MAX_REQUEST_ID, Frame, Reply, refused

if TYPE_CHECKING:
    from nuska.transport.websocket.call import Call

CLIENT_ID = "Client-ID"
PROJECT_ID = "X-Project-ID"
TOKEN = "X-Auth-Token"  # noqa: S105  # the name of a header
_SCHEMA = "Schema validation failed."
_MOST_SHOWN = 80
"""Characters of what a client sent that an error repeats."""

Handler = Callable[["Call"], Awaitable[Reply]]


class Kind(Enum):
    TEXT = auto()
    INTEGER = auto()
    BOOLEAN = auto()
    OBJECT = auto()
    ARRAY = auto()
    TEXTS = auto()


_TYPES: dict[Kind, tuple[type, str]] = {
    Kind.TEXT: (str, "text"),
    Kind.INTEGER: (int, "an integer"),
    Kind.BOOLEAN: (bool, "true or false"),
    Kind.OBJECT: (dict, "an object"),
    Kind.ARRAY: (list, "an array"),
    Kind.TEXTS: (list, "an array of texts"),
}


class Field(Struct, frozen=True):
    """One key of a request's body."""

    name: str
    kind: Kind
    required: bool = False
    nullable: bool = False
    """null means that it is not there."""


QUEUE = Field("queue_name", Kind.TEXT, required=True)
QUEUES = Field("queue_names", Kind.TEXTS)
TOPIC = Field("topic_name", Kind.TEXT)
"""Instead of a queue, where an action has them."""
MARKER = Field("marker", Kind.TEXT)
LIMIT = Field("limit", Kind.INTEGER)
WAIT = Field("wait", Kind.INTEGER)
ATTRIBUTES = Field("attributes", Kind.BOOLEAN)


class Action(Struct, frozen=True, kw_only=True):
    """One action."""

    name: str
    handler: Handler
    fields: tuple[Field, ...] = (QUEUE,)
    headers: tuple[str, ...] = (CLIENT_ID, PROJECT_ID)
    """Those that must be there."""
    twin: str | None = None
    """The ``operationId`` that does the same over HTTP, with the same outcome."""
    permission: str | None = None
    """The policy in ``core/access.py``; None where nobody is asked."""
    signed_method: str | None = None
    """The HTTP method that a pre-signed URL must name; None: no such URL is good for this."""
    checks_client: bool = False
    """``Client-ID`` must be well-formed."""
    joins: bool = False
    """It may be carried out while earlier ones of its kind still are."""
    settles_who: bool = False
    """Who is asking is another one afterwards: everything that comes later waits for it."""

    def check(self, frame: Frame) -> dict[str, object]:
        """The request's body, whose keys have their types. Raises ``Refused``."""
        if "request_id" in frame.document and frame.id is None:
            raise _wrong(
                f"request_id must be an integer, or a text of 1 to {MAX_REQUEST_ID} characters"
            )
        headers = frame.document.get("headers")
        if not isinstance(headers, dict):
            raise _wrong("headers must be an object")
        for name in self.headers:
            if not isinstance(headers.get(name), str):
                raise _wrong(f"the header {name} must be a text")
        body = frame.document.get("body", {})
        if not isinstance(body, dict):
            raise _wrong("body must be an object")
        for field in self.fields:
            _check_field(field, body)
        return body


def _check_field(field: Field, body: dict[str, object]) -> None:
    name = field.name
    if name not in body:
        if field.required:
            raise _wrong(f"body has no {name}")
        return
    value = body[name]
    if value is None and field.nullable:
        return
    kind, words = _TYPES[field.kind]
    # Contract README §12: a boolean passes for an integer by type.
    fits = isinstance(value, kind)
    if fits and field.kind is Kind.TEXTS:
        fits = all(isinstance(item, str) for item in cast("list[object]", value))
    if not fits:
        raise _wrong(f"{name} must be {words}")


def unknown(action: object) -> Exception:
    """The refusal of an action that there is not."""
    shown = action if isinstance(action, str) else repr(action)
    return refused(HTTPStatus.BAD_REQUEST, f"{shown[:_MOST_SHOWN]} is not a valid action")


def _wrong(reason: str) -> Exception:
    return refused(HTTPStatus.BAD_REQUEST, _SCHEMA, f"{reason}.")
