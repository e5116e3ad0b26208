"""What lies in MongoDB: one collection, ``records``, sharded by ``q``.

``q`` is a digest of project and queue name, so all documents of a queue are on one shard and
queues spread evenly. Fields, by kind of document:

    a queue     _id = q; project, name (absent once deleted, and while fenced), metadata,
                relaxed, version, generation, life, base, last, moment, writes; log version and
                log generation while that is open, else e once deleted; fenced, epoch, arrived
                where it was carried
    a message   _id = g + id; g generation, p position, b body, a attributes, o poster, t ttl,
                c created, e end, v available from, k claim, n claim count, d dead letter,
                w whether a delay or claim put it aside
    announced   as a message, but without w: g is the generation of the log, and nobody claims it
    a claim     _id = g + claim id; t ttl, s start, e end
    a post      _id = life + digest of its key; y key, f fingerprint, ids, e end of its memory
    a leftover  _id = q + generation; old = generation, which is to be swept

Nothing here talks to MongoDB.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from nuska.domain.messages import DeadLetter, Message, QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import (
    CLAIM_ID_BYTES,
    SALT_BYTES,
    MessageId,
    Position,
    parse_message_id,
)

Document = dict[str, Any]

QUEUE_KEY_BYTES = 16
GENERATION_BYTES = 12
POSITION_BYTES = 7
ID_BYTES = POSITION_BYTES + SALT_BYTES
POST_KEY_BYTES = 32


def queue_key(ref: QueueRef) -> bytes:
    """The shard key of everything that belongs to a queue."""
    project = ref.project.encode()
    text = len(project).to_bytes(4, "big") + project + ref.name.encode()
    return blake2b(text, digest_size=QUEUE_KEY_BYTES).digest()


def message_key(generation: bytes, message_id: str) -> bytes | None:
    """The ``_id`` of a message, or None when ``message_id`` cannot be an id."""
    if parse_message_id(message_id) is None:
        return None
    return generation + bytes.fromhex(message_id)


def message_keys(generation: bytes, ids: Sequence[str]) -> list[bytes]:
    """Those of ``ids`` that can be ids, each once."""
    keys = (message_key(generation, one) for one in dict.fromkeys(ids))
    return [key for key in keys if key is not None]


def claim_key(generation: bytes, claim: bytes) -> bytes:
    return generation + claim


def post_key(life: bytes, key: str) -> bytes:
    return life + blake2b(key.encode(), digest_size=POST_KEY_BYTES).digest()


def keys_of_generation(generation: bytes) -> list[Document]:
    """Ranges of ``_id`` with every message and claim of a generation: binary values of one
    length are compared byte by byte."""
    return [
        {"$gte": generation + bytes(size), "$lte": generation + b"\xff" * size}
        for size in (ID_BYTES, CLAIM_ID_BYTES)
    ]


def encode(message: Message, queue: bytes, generation: bytes, *, waits: bool) -> Document:
    """A message that is in no claim."""
    document: Document = {
        "_id": generation + bytes.fromhex(message.id),
        "q": queue,
        "g": generation,
        "p": message.position,
        "b": message.body,
        "o": message.poster,
        "t": message.ttl,
        "c": message.created_at,
        "e": message.expires_at,
        "v": message.available_at,
        "n": message.claim_count,
        "w": waits,
    }
    if message.attributes is not None:
        document["a"] = message.attributes
    if message.dead is not None:
        dead = message.dead
        document["d"] = [dead.origin, dead.reason, dead.claim_count, dead.at]
    return document


def announcement(message: Message, queue: bytes, log_generation: bytes) -> Document:
    """A message as it was posted, in the queue's announcement log."""
    document = encode(message, queue, log_generation, waits=False)
    del document["w"]
    return document


def decode(document: Document, now: Moment) -> Message:
    """A message as it is seen at ``now``: without a claim that is over. Numbers become plain
    ones: those of the client library cannot be written as JSON."""
    available_at = int(document["v"])
    claim = document.get("k") if available_at > now else None
    dead = document.get("d")
    return Message(
        id=message_id_of(document),
        position=Position(int(document["p"])),
        body=document["b"],
        ttl=Duration(int(document["t"])),
        created_at=Moment(int(document["c"])),
        expires_at=Moment(int(document["e"])),
        available_at=Moment(available_at),
        claim_id=None if claim is None else claim.hex(),
        claim_count=int(document["n"]),
        poster=document["o"],
        attributes=document.get("a"),
        dead=None if dead is None else _dead_letter(*dead),
    )


def _dead_letter(origin: str, reason: str, claim_count: int, at: int) -> DeadLetter:
    return DeadLetter(origin=origin, reason=reason, claim_count=claim_count, at=Moment(int(at)))


def message_id_of(document: Document) -> MessageId:
    return MessageId(document["_id"][GENERATION_BYTES:].hex())
