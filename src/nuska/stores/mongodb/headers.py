"""A queue's own document: what every transaction changes first.

A deleted queue's document stays for a while, so that a queue created anew under its name goes
on above its positions.
"""

from dataclasses import dataclass

import msgspec
from bson import ObjectId

from nuska.domain.messages import QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import COUNTER_EPOCH, COUNTER_SHIFT, Position, next_position
from nuska.domain.queues import Metadata, Queue
from nuska.stores.mongodb.records import Document, queue_key

REMEMBERED = Duration(600_000)
"""How long a deleted queue is remembered after the timeline has passed its positions; nodes
whose clocks differ by less cannot give one twice."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, object]).decode


@dataclass(slots=True)
class Header:
    """A queue, as one transaction sees and changes it."""

    ref: QueueRef
    key: bytes
    exists: bool
    generation: bytes
    life: bytes
    """One for each time the queue was created."""
    base: int
    """The highest position that the last purge, or an earlier queue of this name, took."""
    last: int
    moment: Moment
    metadata: bytes
    relaxed: bool
    version: int
    changed: bool = False

    def take_position(self) -> Position:
        self.last = next_position(self.last, self.moment)
        self.changed = True
        return Position(self.last)

    def start_generation(self) -> bytes:
        """Leave every message and claim behind; the old generation, to be swept."""
        old, self.generation = self.generation, unique()
        self.base = self.last
        self.changed = True
        return old

    def create(self, metadata: Metadata, *, relaxed: bool) -> None:
        """Begin anew above every position that the name has seen."""
        self.exists, self.changed = True, True
        self.generation, self.life = unique(), unique()
        self.last = self.base = next_position(self.last, self.moment) - 1
        self.version = next_position(self.version, self.moment)
        self.metadata, self.relaxed = _encode(metadata), relaxed

    def describe(self, metadata: Metadata, *, relaxed: bool) -> None:
        self.metadata, self.relaxed = _encode(metadata), relaxed
        self.version += 1
        self.changed = True

    def delete(self) -> bytes:
        old = self.start_generation()
        self.exists = False
        return old

    def changes(self) -> Document:
        """The update that makes the stored document this."""
        kept = {
            "q": self.key,
            "generation": self.generation,
            "life": self.life,
            "base": self.base,
            "last": self.last,
            "moment": self.moment,
            "metadata": self.metadata,
            "relaxed": self.relaxed,
            "version": self.version,
        }
        if self.exists:
            names = {"project": self.ref.project, "name": self.ref.name}
            return {"$set": kept | names, "$unset": {"e": ""}}
        passed = COUNTER_EPOCH + (self.last >> COUNTER_SHIFT)
        kept["e"] = max(passed, self.moment) + REMEMBERED
        return {"$set": kept, "$unset": {"project": "", "name": ""}}


def unique() -> bytes:
    return ObjectId().binary


def header_of(ref: QueueRef, document: Document) -> Header:
    return Header(
        ref=ref,
        key=document["_id"],
        exists="project" in document,
        generation=document["generation"],
        life=document["life"],
        base=document["base"],
        last=document["last"],
        moment=Moment(document["moment"]),
        metadata=document["metadata"],
        relaxed=document["relaxed"],
        version=document["version"],
    )


def unknown(ref: QueueRef, now: Moment) -> Header:
    """A queue whose name nobody remembers."""
    return Header(
        ref=ref,
        key=queue_key(ref),
        exists=False,
        generation=b"",
        life=b"",
        base=0,
        last=0,
        moment=now,
        metadata=b"{}",
        relaxed=False,
        version=0,
    )


def queue_of(document: Document) -> Queue:
    return Queue(
        ref=QueueRef(document["project"], document["name"]),
        metadata=_decode(document["metadata"]),
        relaxed=document["relaxed"],
        version=document["version"],
    )
