"""What is carried, as MongoDB keeps it, and in pieces that one transaction can carry.

Nothing here talks to MongoDB.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from msgspec.structs import replace
from pymongo import DeleteMany, InsertOne

from nuska.domain.messages import Message
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import MessageId, parse_claim_id
from nuska.interfaces.pooling import Lease, RememberedPost
from nuska.stores.mongodb.headers import Header
from nuska.stores.mongodb.records import Document, announcement, claim_key, encode, post_key

AT_ONCE = 200
"""Documents loaded, or taken out, by one transaction."""
BYTES_AT_ONCE = 4 * 1024 * 1024
"""Of bodies and attributes in one transaction, unless one message has more: far below the 16 MB
that an entry of the oplog holds."""

T = TypeVar("T")


def pieces(things: Sequence[T], size_of: Callable[[T], int] = lambda _: 0) -> Iterator[Sequence[T]]:
    """Pieces that one transaction can carry; an empty one when there is nothing."""
    start = size = 0
    for at, thing in enumerate(things):
        size += size_of(thing)
        if at > start and (at - start == AT_ONCE or size > BYTES_AT_ONCE):
            yield things[start:at]
            start, size = at, size_of(thing)
    yield things[start:]


def bytes_of(message: Message) -> int:
    return len(message.body) + len(message.attributes or b"")


def above(prefix: bytes, start: bytes, size: int) -> Document:
    """A range of ``_id``: those of this prefix and size above ``start``, or all of them."""
    least = {"$gt": prefix + start} if start else {"$gte": prefix + bytes(size)}
    return least | {"$lte": prefix + b"\xff" * size}


def in_place(header: Header, documents: Sequence[Document]) -> list[Any]:
    """Writes that store documents in place of those of the same id; two statements for the
    server, where a replacement of each would be one for each."""
    last = {document["_id"]: document for document in documents}
    before = DeleteMany({"_id": {"$in": list(last)}, "q": header.key})
    return [before, *(InsertOne(document) for document in last.values())]


def message_document(header: Header, message: Message) -> Document:
    """A message stands where it stood, in the state it was in."""
    waits = message.available_at > header.moment
    if waits:
        header.expect(message.available_at)
    document = encode(message, header.key, header.generation, waits=waits)
    claim = parse_claim_id(message.claim_id) if waits and message.claim_id else None
    if claim is not None:
        document["k"] = claim
    return document


def log_document(header: Header, announced: Message) -> Document | None:
    """None for a log that is not open, which takes nothing."""
    if header.log is None:
        return None
    return announcement(announced, header.key, header.log.generation)


def arrived(header: Header, letter: Message) -> Document:
    """A letter at the tail, available at once."""
    moved = replace(
        letter,
        position=header.take_position(),
        claim_id=None,
        available_at=header.moment,
    )
    return encode(moved, header.key, header.generation, waits=False)


def lease_of(header: Header, document: Document) -> Lease:
    return Lease(
        claim_id=document["_id"][len(header.generation) :].hex(),
        ttl=Duration(int(document["t"])),
        started_at=Moment(int(document["s"])),
        expires_at=Moment(int(document["e"])),
    )


def lease_document(header: Header, lease: Lease) -> Document:
    claim = parse_claim_id(lease.claim_id)
    assert claim is not None, "stored claims have ids of ours"
    return {
        "_id": claim_key(header.generation, claim),
        "q": header.key,
        "t": lease.ttl,
        "s": lease.started_at,
        "e": lease.expires_at,
    }


def post_of(document: Document) -> RememberedPost:
    return RememberedPost(
        key=document["y"],
        fingerprint=document["f"],
        ids=[MessageId(one) for one in document["ids"]],
        until=Moment(int(document["e"])),
    )


def post_document(header: Header, post: RememberedPost) -> Document:
    return {
        "_id": post_key(header.life, post.key),
        "q": header.key,
        "y": post.key,
        "f": post.fingerprint,
        "ids": post.ids,
        "e": post.until,
    }
