"""Messages on the wire. Bodies go in and out as the posted bytes; nothing is encoded again.

No key is added to a message but those of the contract, because existing clients fail on
unknown ones (K10); ``attributes``, ``dead_letter`` and ``delay`` come only when a reader asks
for them.
"""

import hashlib
import json as stdlib_json
from collections.abc import Sequence
from functools import partial

from msgspec import UNSET, Raw, Struct, UnsetType, ValidationError
from msgspec.json import Decoder

from nuska.collector import unwatched
from nuska.core.messages import Draft
from nuska.domain.errors import InvalidBody, InvalidHeader, InvalidInput
from nuska.domain.limits import MAX_ATTRIBUTES, MAX_IDEMPOTENCY_KEY, MAX_JSON_DEPTH
from nuska.domain.messages import Idempotency, Message
from nuska.domain.moments import Moment, age_in_seconds, iso
from nuska.transport.wire import json

LOCATION_IDS = 200
"""A ``Location`` names at most this many messages, some 6.6 KB; after a larger post it names
the collection, because common clients and proxies refuse longer header lines."""
FINGERPRINT_BYTES = 16
_DEEPEST_POST = MAX_JSON_DEPTH + 3
"""A body may be nested as deep as any document; the post around it adds three levels."""


class _PostedMessage(Struct, gc=False):
    body: Raw | UnsetType = UNSET
    ttl: object = UNSET
    delay: object = None
    attributes: Raw | UnsetType = UNSET


class _Post(Struct, gc=False):
    messages: list[_PostedMessage] | UnsetType = UNSET


_decode_post = Decoder(_Post).decode
_decode_posted = Decoder(list[_PostedMessage]).decode


# In


def decode_post(data: bytes) -> list[Draft]:
    """The messages of a post. Raises ``InvalidBody`` naming the message and the field."""
    return unwatched(_drafts, data)


def _drafts(data: bytes) -> list[Draft]:
    document = json.decode_any(data)
    try:
        post = _decode_post(data)
    except ValidationError as error:
        raise InvalidBody(f'The request body must be {{"messages": [...]}}: {error}.') from None
    if post.messages is UNSET:
        raise InvalidBody('The request body has no "messages".')
    if not post.messages:
        raise InvalidBody('"messages" must not be empty.')
    _check_depth(data, document, _DEEPEST_POST)
    return [_draft(number, posted) for number, posted in enumerate(post.messages)]


def decode_posted(data: bytes, messages: object) -> list[Draft]:
    """The messages in an array, of which ``data`` is the text; it was checked when ``messages``
    were read from it, but for their shape and their depth."""
    return unwatched(partial(_posted, messages), data)


def _posted(messages: object, data: bytes) -> list[Draft]:
    try:
        array = _decode_posted(data)
    except ValidationError as error:
        raise InvalidBody(f'"messages" must be an array of messages: {error}.') from None
    if not array:
        raise InvalidBody('"messages" must not be empty.')
    _check_depth(data, messages, _DEEPEST_POST - 1)
    return [_draft(number, posted) for number, posted in enumerate(array)]


def _check_depth(data: bytes, document: object, deepest: int) -> None:
    if json.may_be_deep(data) and json.depth_exceeds(document, deepest):
        raise InvalidBody(json.TOO_DEEP)


def _draft(number: int, posted: _PostedMessage) -> Draft:
    body, ttl = posted.body, posted.ttl
    if body is UNSET:
        raise InvalidBody(f'Message {number} has no "body".')
    if ttl is UNSET:
        ttl = None
    elif not isinstance(ttl, int):
        raise InvalidBody(f"The value of ttl of message {number} must be an integer.")
    if posted.attributes is UNSET:
        return Draft(bytes(body), ttl, posted.delay)
    return Draft(bytes(body), ttl, posted.delay, _attributes(number, bytes(posted.attributes)))


def _attributes(number: int, attributes: bytes) -> bytes:
    if not attributes.startswith(b"{"):
        raise InvalidBody(f"The value of attributes of message {number} must be a JSON object.")
    if len(attributes) > MAX_ATTRIBUTES:
        raise InvalidInput(
            f"The attributes of message {number} are too large: "
            f"the maximum is {MAX_ATTRIBUTES} bytes."
        )
    return attributes


def idempotency_of(key: str, data: bytes) -> Idempotency:
    """The promise made by an ``Idempotency-Key`` header on the post ``data``."""
    if not 0 < len(key) <= MAX_IDEMPOTENCY_KEY or not (key.isascii() and key.isprintable()):
        raise InvalidHeader(
            "Wrong Idempotency-Key",
            f"The header Idempotency-Key must be 1 to {MAX_IDEMPOTENCY_KEY} printable ASCII "
            "characters.",
        )
    return Idempotency(key, hashlib.blake2b(data, digest_size=FINGERPRINT_BYTES).digest())


# Out


class Shown(Struct, frozen=True, gc=False):
    """What a reader sees besides the fields that everybody sees."""

    attributes: bool = False
    """The reader asked for attributes (and for why a message is a dead letter, and how long
    it is still delayed)."""
    checksum: bool = False
    """The operator enabled checksums."""


PLAIN = Shown()


def encode_posted(base: str, ids: Sequence[str]) -> bytes:
    """``base``, here and below: where the queue or topic is, such as ``/v2/queues/jobs``."""
    collection = f"{base}/messages/"
    hrefs = f'", "{collection}'.join(ids)
    return f'{{"resources": ["{collection}{hrefs}"]}}'.encode()


def location_of_posted(base: str, ids: Sequence[str]) -> str:
    if len(ids) > LOCATION_IDS:
        return f"{base}/messages"
    return f"{base}/messages?ids={','.join(ids)}"


def encode_message(message: Message, base: str, now: Moment, shown: Shown = PLAIN) -> bytes:
    """One message as lists, gets and claims show it."""
    claim = f"?claim_id={message.claim_id}" if message.claim_id is not None else ""
    head = (
        f'{{"id": "{message.id}", "href": "{base}/messages/{message.id}{claim}", '
        f'"ttl": {message.ttl // 1000}, "age": {age_in_seconds(message.created_at, now)}, '
        f'"body": '
    )
    delay = _delay(message, now, shown)
    return b"".join((head.encode(), message.body, delay, _extras(message, shown), b"}"))


def encode_bare_messages(
    messages: Sequence[Message], now: Moment, shown: Shown = PLAIN, *, claimed: bool = False
) -> bytes:
    """The array of ``messages``, without brackets, for readers who have no addresses: each with
    ``claim_id``, which is null unless the messages are shown as those of a claim."""
    if shown.attributes or shown.checksum:
        return b", ".join([_bare(message, now, shown, claimed) for message in messages])
    # Messages that were posted and claimed together are alike but for id and body.
    pieces: list[bytes] = []
    alike: Message | None = None
    between = b""
    for message in messages:
        if (
            alike is None
            or message.claim_id != alike.claim_id
            or message.created_at != alike.created_at
            or message.ttl != alike.ttl
        ):
            alike = message
            claim = f'"{message.claim_id}"' if claimed and message.claim_id is not None else "null"
            between = (
                f'", "claim_id": {claim}, "ttl": {message.ttl // 1000}, '
                f'"age": {age_in_seconds(message.created_at, now)}, "body": '
            ).encode()
        pieces += (b'}, {"id": "', message.id.encode(), between, message.body)
    return b"".join(pieces)[3:] + b"}" if pieces else b""


def _bare(message: Message, now: Moment, shown: Shown, claimed: bool) -> bytes:
    claim = f'"{message.claim_id}"' if claimed and message.claim_id is not None else "null"
    head = (
        f'{{"id": "{message.id}", "claim_id": {claim}, "ttl": {message.ttl // 1000}, '
        f'"age": {age_in_seconds(message.created_at, now)}, "body": '
    )
    delay = _delay(message, now, shown)
    return b"".join((head.encode(), message.body, delay, _extras(message, shown), b"}"))


def _delay(message: Message, now: Moment, shown: Shown) -> bytes:
    if shown.attributes and message.claim_id is None and message.available_at > now:
        return f', "delay": {-((now - message.available_at) // 1000)}'.encode()
    return b""


def encode_popped(message: Message, now: Moment, shown: Shown = PLAIN) -> bytes:
    """One message as pop shows it: no ``href``, but ``claim_id`` and ``claim_count``."""
    head = (
        f'{{"id": "{message.id}", "age": {age_in_seconds(message.created_at, now)}, '
        f'"ttl": {message.ttl // 1000}, "body": '
    )
    tail = f', "claim_id": null, "claim_count": {message.claim_count}'
    return b"".join((head.encode(), message.body, tail.encode(), _extras(message, shown), b"}"))


def encode_messages(
    messages: Sequence[Message], base: str, now: Moment, shown: Shown = PLAIN
) -> bytes:
    """The array of ``messages``, without brackets."""
    return b", ".join([encode_message(message, base, now, shown) for message in messages])


def _extras(message: Message, shown: Shown) -> bytes:
    if shown is PLAIN or not (shown.attributes or shown.checksum):
        return b""
    parts = b""
    if shown.checksum and message.body != b"null":
        parts += f', "checksum": "{checksum_of(message.body)}"'.encode()
    if shown.attributes and message.attributes is not None:
        parts += b', "attributes": ' + message.attributes
    if shown.attributes and message.dead is not None:
        dead = message.dead
        parts += b', "dead_letter": ' + json.encode(
            {
                "origin": dead.origin,
                "reason": dead.reason,
                "claim_count": dead.claim_count,
                "at": iso(dead.at),
            }
        )
    return parts


def checksum_of(body: bytes) -> str:
    """``MD5:`` and the digest of the body in the form that contract lifecycle §1 defines,
    which is that of Python's ``json.dumps``; a check against mishaps, not against malice."""
    text = stdlib_json.dumps(stdlib_json.loads(body))
    return f"MD5:{hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()}"
