"""A queue's own document: what every transaction changes first.

A deleted queue's document stays for a while, so that a queue created anew under its name goes
on above its positions, and as long as its announcement log is open. That of a fenced queue
names neither project nor queue, so that it is not listed, not counted and nobody is woken for it.
"""

from dataclasses import dataclass, field

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

PASSING = ("project", "name", "fenced", "epoch", "arrived", "log", "e")
"""What a queue's document has at some times, and at others not."""
LOOK = Moment(0)
NOTHING_WAITS = Moment(1 << 62)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, object]).decode


@dataclass(slots=True, frozen=True)
class Log:
    """An announcement log that is open."""

    version: str
    generation: bytes
    """That of the announcements in it; another one whenever it is emptied."""


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
    due: Moment = LOOK
    """No message that waits is available earlier; ``LOOK`` when that is not known."""
    reserved: int = 0
    """How many positions up to ``last`` are ours to give, and not given yet."""
    fenced: bool = False
    epoch: int = 0
    """The latest in which it was made or fenced; 0 where it never was."""
    arrived: dict[str, Position] = field(default_factory=dict)
    """The last position that came from each source."""
    log: Log | None = None

    @property
    def tail(self) -> int:
        """The highest position given so far."""
        return self.last - self.reserved

    @property
    def below(self) -> Position:
        """Every position that is given later is above this one."""
        return Position(self.tail if self.exists else next_position(self.last, self.moment) - 1)

    def take_position(self) -> Position:
        if self.reserved:
            self.reserved -= 1
            return Position(self.tail)
        self.last = next_position(self.last, self.moment)
        self.changed = True
        return Position(self.last)

    def expect(self, due: Moment) -> None:
        """A message waits until ``due``."""
        if due < self.due:
            self.due, self.changed = due, True

    def next_due(self, due: Moment) -> None:
        """None of those that wait is available before ``due``."""
        if due != self.due:
            self.due, self.changed = due, True

    def come_after(self, moment: Moment) -> None:
        """Something comes here that was elsewhere until ``moment``."""
        if moment > self.moment:
            self.moment, self.changed = moment, True

    def give_back(self) -> None:
        """What was reserved and not needed, as a post that is repeated needs none."""
        if self.reserved:
            self.last, self.reserved, self.changed = self.tail, 0, True

    def start_generation(self) -> list[bytes]:
        """Leave every message, claim and announcement behind; the old generations, to be swept."""
        left = [self.generation]
        self.generation = unique()
        self.give_back()
        self.base, self.due = self.last, NOTHING_WAITS
        self.changed = True
        if self.log is not None:
            left.append(self.log.generation)
            self.log = Log(self.log.version, unique())
        return left

    def open_log(self) -> Log:
        """Announce what is posted from now on; another version each time."""
        self.log = Log(unique().hex(), unique() if self.log is None else self.log.generation)
        self.changed = True
        return self.log

    def close_log(self) -> list[bytes]:
        """Leave the log behind, if it is open; its generation, to be swept."""
        left = [] if self.log is None else [self.log.generation]
        self.log, self.changed = None, True
        return left

    def create(self, metadata: Metadata, *, relaxed: bool) -> None:
        """Begin anew above every position that the name has seen."""
        self.give_back()
        self.exists, self.changed = True, True
        self.generation, self.life = unique(), unique()
        self.last = self.base = next_position(self.last, self.moment) - 1
        self.version = next_position(self.version, self.moment)
        self.due = NOTHING_WAITS
        self.metadata, self.relaxed = _encode(metadata), relaxed
        self.fenced, self.epoch, self.arrived = False, 0, {}

    def place(self, *, base: int, last: int, arrived: dict[str, Position]) -> None:
        """Go on where the queue stood in another store; no position is given twice."""
        self.give_back()
        self.base, self.last = base, max(self.last, last)
        self.arrived, self.changed = dict(arrived), True

    def fence(self, fenced: bool, epoch: int) -> None:
        self.fenced, self.epoch, self.changed = fenced, epoch, True

    def note_arrival(self, source: str, last: Position) -> None:
        self.arrived[source], self.changed = last, True

    def describe(self, metadata: Metadata, *, relaxed: bool) -> None:
        self.metadata, self.relaxed = _encode(metadata), relaxed
        self.version += 1
        self.changed = True

    def delete(self) -> list[bytes]:
        """Leave everything behind but the log, which stays open; the old generations."""
        left = self.start_generation() if self.exists else []
        self.exists = False
        return left

    def changes(self) -> Document:
        """The update that makes the stored document this."""
        kept = {
            "q": self.key,
            "generation": self.generation,
            "life": self.life,
            "base": self.base,
            "last": self.last,
            "moment": self.moment,
            "due": self.due,
            "metadata": self.metadata,
            "relaxed": self.relaxed,
            "version": self.version,
        }
        if self.log is not None:
            kept["log"] = [self.log.version, self.log.generation]
        if not self.exists:
            if self.log is None:
                passed = COUNTER_EPOCH + (self.last >> COUNTER_SHIFT)
                kept["e"] = max(passed, self.moment) + REMEMBERED
        elif self.fenced:
            kept["fenced"] = True
        else:
            kept |= {"project": self.ref.project, "name": self.ref.name}
        if self.exists and self.epoch:
            kept["epoch"] = self.epoch
        if self.exists and self.arrived:
            kept["arrived"] = list(self.arrived.items())
        gone = {name: "" for name in PASSING if name not in kept}
        return {"$set": kept, "$unset": gone}


def unique() -> bytes:
    return ObjectId().binary


def opened(now: Moment, positions: int) -> Document | list[Document]:
    """The update that opens a queue: its moment, and the next ``positions`` at its tail.

    Every one changes the document, also when nothing is reserved and the moment stays.
    """
    if not positions:
        return {"$inc": {"writes": 1}, "$max": {"moment": now}}
    writes = {"$add": [{"$ifNull": ["$writes", 0]}, 1]}
    since = {"$max": [{"$subtract": ["$moment", COUNTER_EPOCH]}, 1]}
    before = {"$subtract": [{"$multiply": [since, 1 << COUNTER_SHIFT]}, 1]}
    return [
        {"$set": {"writes": writes, "moment": {"$max": ["$moment", now]}}},
        {"$set": {"last": {"$add": [{"$max": ["$last", before]}, positions]}}},
    ]


def header_of(ref: QueueRef, document: Document, reserved: int = 0) -> Header:
    return Header(
        ref=ref,
        key=document["_id"],
        exists=is_there(document),
        generation=document["generation"],
        life=document["life"],
        base=int(document["base"]),
        last=int(document["last"]),
        moment=Moment(int(document["moment"])),
        metadata=document["metadata"],
        relaxed=document["relaxed"],
        version=document["version"],
        due=Moment(document.get("due", LOOK)),
        reserved=reserved,
        fenced="fenced" in document,
        epoch=document.get("epoch", 0),
        arrived={source: Position(last) for source, last in document.get("arrived", ())},
        log=Log(*document["log"]) if "log" in document else None,
    )


def is_there(document: Document | None) -> bool:
    """Whether the queue of a document exists, fenced or not."""
    return document is not None and ("project" in document or "fenced" in document)


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
