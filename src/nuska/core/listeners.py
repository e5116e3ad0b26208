"""Those who listen live, as they are seen by who reads for them.

A *listening* is one receiver and its queues; a *member* is one queue of it: how far it was told.
Nothing here reads or waits.
"""

import logging
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from nuska.domain.filters import Filter
from nuska.domain.markers import Marker
from nuska.domain.messages import Message, QueueRef
from nuska.domain.moments import Moment
from nuska.domain.positions import BEFORE_ALL, Position

if TYPE_CHECKING:
    from nuska.core.live_readers import Reader

Late = tuple[Moment, Position]
"""When a delayed message becomes due, and where it stands."""
NOTHING: Late = (Moment(0), BEFORE_ALL)

logger = logging.getLogger("nuska.live")


class Ending(Enum):
    """Why a listening ends without its receiver's doing."""

    STOPPING = auto()
    """The process stops: come back, to another one perhaps, with the last marker."""
    FAILED = auto()
    """The receiver raised something."""


class Announced:
    """A message on its way to receivers. Most get the very same object, so that a transport can
    keep with it what it made of it."""

    __slots__ = ("_encoded", "marker", "message", "queue")

    def __init__(self, queue: QueueRef, message: Message, marker: Marker) -> None:
        self.queue = queue
        self.message = message
        self.marker = marker
        """Who has this and all before it says so with this marker."""
        self._encoded: dict[object, bytes] | None = None

    def encoded(self, how: object, encode: Callable[["Announced"], bytes]) -> bytes:
        """What ``encode`` makes of it, made once for every ``how``."""
        if self._encoded is None:
            self._encoded = {}
        found = self._encoded.get(how)
        if found is None:
            found = self._encoded[how] = encode(self)
        return found


class Gap(Struct, frozen=True):
    """Something may be missing between what a receiver was told of last and what comes next."""

    queue: QueueRef
    after: Marker
    """Up to here nothing is missing."""
    marker: Marker
    """From here on nothing is missing."""


class Receiver(Protocol):
    """Whoever is told. Is called from the event loop, must not wait, and should only put aside
    what it gets; when too much is put aside, it calls ``hold`` of its listening."""

    def take(self, batch: Sequence[Announced]) -> None:
        """Messages of one queue, at least one, in the order in which they are to be told."""
        ...

    def gap(self, gap: Gap) -> None: ...

    def end(self, ending: Ending) -> None:
        """The listening is over; it is closed already."""
        ...


class State(Enum):
    HELD = auto()
    """It has no room for more now, or has not begun."""
    COMING = auto()
    """It has to be found out what it missed."""
    BEHIND = auto()
    """It is told what it missed."""
    IN_STEP = auto()
    """What is read next is for it."""
    GONE = auto()


class Member:
    """One queue of a listening."""

    __slots__ = ("_due", "at", "known", "listening", "reader", "start", "state", "upto")

    def __init__(self, listening: "Listening", reader: "Reader", after: Marker) -> None:
        self.listening = listening
        self.reader = reader
        self.state = State.HELD
        self.known = False
        """It was in step, or on its way to that, since it began."""
        self.at = self.start = after.position
        """Everything up to here was passed on, but for what was delayed; and where it began."""
        self._due: Late = (after.due, after.tie)
        self.upto: Late = NOTHING if after.is_plain else self._due
        """What was delayed was passed on up to this, when it was looked at last."""

    def begin_at(self, after: Marker) -> None:
        """Begin anew somewhere else."""
        self.at = self.start = after.position
        self._due = (after.due, after.tie)
        self.upto = NOTHING if after.is_plain else self._due

    def owns(self, late: Late) -> bool:
        """Whether a delayed message is still to be passed on when it becomes due: not when it
        stands behind ``at``, since it will be read there."""
        position = late[1]
        return (
            position <= self.at and late > self.upto and (position > self.start or late > self._due)
        )

    @property
    def beginning(self) -> Marker:
        return Marker(self.start, *self._due)

    @property
    def marker(self) -> Marker:
        if self.state in (State.BEHIND, State.IN_STEP):
            return self.reader.marker_at(self.at)
        if self.known:
            return self.reader.marker_at(self.at, self.upto)
        return self.beginning


class Listening:
    """Made by ``Live.listen``; whoever asked for it closes it. It begins held."""

    def __init__(
        self,
        receiver: Receiver,
        wanted: Filter | None,
        release: Callable[["Listening"], None],
    ) -> None:
        self.receiver = receiver
        self.filter = wanted
        self.members: dict[QueueRef, Member] = {}
        self.closed = False
        self.held = True
        self._release = release

    def marker(self, queue: QueueRef) -> Marker:
        """How far it was told of the queue: moves on also with messages that it does not want."""
        return self.members[queue].marker

    def hold(self) -> None:
        """Pass on nothing more until ``go_on``; nothing is lost as long as the log is kept."""
        if not (self.held or self.closed):
            self.held = True
            for member in self.members.values():
                member.reader.hold(member)

    def go_on(self) -> None:
        """Pass on what there is, and what comes."""
        if self.held and not self.closed:
            self.held = False
            for member in self.members.values():
                member.reader.go_on(member)

    def close(self) -> None:
        """From now on nothing is passed on. A second call does nothing."""
        if not self.closed:
            self.closed = True
            for member in self.members.values():
                member.reader.remove(member)
            self._release(self)

    def take(self, batch: Sequence[Announced]) -> None:
        """For who reads: pass on."""
        if not self.closed:
            self._tell(lambda: self.receiver.take(batch))

    def gap(self, gap: Gap) -> None:
        if not self.closed:
            self._tell(lambda: self.receiver.gap(gap))

    def end(self, ending: Ending) -> None:
        """Close it, and tell the receiver."""
        if not self.closed:
            self.close()
            try:
                self.receiver.end(ending)
            except Exception as error:
                logger.error("a live listener failed unexpectedly", exc_info=error)

    def _tell(self, tell: Callable[[], None]) -> None:
        """A receiver that fails harms nobody else."""
        try:
            tell()
        except Exception as error:
            logger.error("a live listener failed unexpectedly", exc_info=error)
            self.end(Ending.FAILED)
