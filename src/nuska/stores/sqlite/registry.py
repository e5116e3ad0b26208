"""The queues in memory, as last committed; bounded, since the file is the truth.

This process is the file's one owner, so what is here cannot be out of date.
"""

from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from typing import Any

from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.domain.positions import COUNTER_EPOCH, COUNTER_SHIFT, floor_at
from nuska.domain.queues import Metadata
from nuska.stores.sqlite.queries import query
from nuska.stores.sqlite.rows import QueueRow, Unmarked, queue_of

GET_QUEUE = query("get_queue")
LAST_POSITION = query("last_position")
LOAD_UNMARKED = query("load_unmarked")

MAX_QUEUES = 10_000
"""Queues kept in memory; any other costs one indexed read."""
MAX_METADATA_BYTES = 32 * 1024 * 1024
"""All metadata kept in memory, about; 64 KiB of text each, and many times that as objects,
would otherwise add up."""
BYTES_PER_CONTAINER = 100
BYTES_PER_ITEM = 40
BYTES_PER_MEMBER = 100

LOOKED_AT_PER_QUEUE = 16
"""Queues considered for dropping whenever one is added."""

QueueColumns = tuple[int, int, int, int, bytes, int, int, int, int, int | None]


class Registry:
    """Queues by name, generations, and positions that must not be given twice."""

    def __init__(self, last_generation: int, last_moment: Moment) -> None:
        self._rows: OrderedDict[QueueRef, tuple[QueueRow, int]] = OrderedDict()
        self._metadata_bytes = 0
        self._generation = last_generation
        # What a restart does not know is which positions were given within the last
        # millisecond; all of them are below this.
        self._floor_at_open = floor_at(Moment(last_moment + 1)) - 1
        self._deleted: OrderedDict[QueueRef, int] = OrderedDict()
        self._highest_deleted = 0

    def cached(self, ref: QueueRef) -> QueueRow | None:
        """The queue, if it is in memory."""
        entry = self._rows.get(ref)
        return entry[0] if entry is not None else None

    def load(self, execute: Callable[..., Any], ref: QueueRef) -> QueueRow | None:
        """A queue as the file has it; ``execute``: of a connection."""
        columns: QueueColumns | None = execute(GET_QUEUE, (ref.project, ref.name)).fetchone()
        if columns is None:
            return None
        row_id, generation, base, last, metadata, relaxed, version, fenced, epoch, log = columns
        queue = queue_of(ref, metadata, relaxed, version)
        last = max(last, self._floor_at_open, execute(LAST_POSITION, (generation,)).get or 0)
        row = QueueRow(row_id, generation, base, last, queue, bool(fenced), epoch, log)
        unmarked = Unmarked(*execute(LOAD_UNMARKED, (generation,)).fetchone())
        row.unmarked = unmarked if unmarked.claims else None
        return row

    def keep(self, ref: QueueRef, row: QueueRow, now: Moment) -> None:
        """Remember the committed state of a queue."""
        old = self._rows.pop(ref, None)
        if old is not None:
            size = old[1] if old[0].queue is row.queue else _weight(row.queue.metadata)
            self._metadata_bytes -= old[1]
        else:
            size = _weight(row.queue.metadata)
        self._rows[ref] = (row, size)
        self._metadata_bytes += size
        if len(self._rows) > MAX_QUEUES or self._metadata_bytes > MAX_METADATA_BYTES:
            self._shrink(now)

    def forget_all(self) -> None:
        """Read every queue anew, as after a restart; no position is given twice."""
        highest = max((row.last_position for row, _ in self._rows.values()), default=0)
        self._floor_at_open = max(self._floor_at_open, highest)
        self._rows.clear()
        self._metadata_bytes = 0

    def forget(self, ref: QueueRef) -> None:
        """A queue is gone."""
        old = self._rows.pop(ref, None)
        if old is not None:
            self._metadata_bytes -= old[1]

    def new_generation(self) -> int:
        """A generation that no row carries."""
        self._generation += 1
        return self._generation

    def remember_deleted(self, ref: QueueRef, last_position: int) -> None:
        """Positions of a deleted queue, until the timeline has passed them."""
        self._deleted[ref] = last_position
        self._highest_deleted = max(self._highest_deleted, last_position)

    def last_position_of_deleted(self, ref: QueueRef) -> int:
        """The last position ever given under a name that has no queue."""
        return max(self._deleted.get(ref, 0), self._floor_at_open)

    def base_of_missing(self, ref: QueueRef, now: Moment) -> int:
        """Positions of a queue that does not exist would begin above this."""
        return max(self.last_position_of_deleted(ref), floor_at(now) - 1)

    def moment_past_deleted(self) -> Moment:
        """A timeline that starts here gives none of the deleted queues' positions again."""
        return Moment(COUNTER_EPOCH + (self._highest_deleted >> COUNTER_SHIFT))

    def passed(self, now: Moment) -> None:
        """Forget deleted queues whose positions lie before ``now``."""
        floor = floor_at(now)
        while self._deleted:
            ref, last = next(iter(self._deleted.items()))
            if last >= floor:
                return
            del self._deleted[ref]

    def _shrink(self, now: Moment) -> None:
        """Drop some of the queues used longest ago whose counters the timeline has passed.

        Called for every queue that is added, so a few each time are enough, and walking all
        of them would make each new queue cost more than its write does.
        """
        floor = floor_at(now)
        oldest = list(islice(self._rows.items(), LOOKED_AT_PER_QUEUE))
        excess = len(self._rows) - MAX_QUEUES
        for ref, (row, size) in oldest:
            if excess <= 0 and self._metadata_bytes <= MAX_METADATA_BYTES:
                return
            if row.last_position < floor:
                del self._rows[ref]
                self._metadata_bytes -= size
                excess -= 1


def _weight(metadata: Metadata) -> int:
    """About how much memory decoded metadata takes, never much less. An empty array is two
    bytes of text and fifty of memory, and one more object for the garbage collector to visit."""
    text = repr(metadata)
    containers = text.count("[") + text.count("{")
    return (
        len(text)
        + BYTES_PER_CONTAINER * containers
        + BYTES_PER_MEMBER * text.count(":")
        + BYTES_PER_ITEM * text.count(",")
    )
