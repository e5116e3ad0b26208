"""What one write sees and changes: the database, and the queues it has touched.

Several writes share a transaction (writer.py). Changes to queues are kept here until the
commit, so that readers see the committed state and a failed transaction leaves no trace.
"""

from collections.abc import Callable
from typing import Any

import apsw
import msgspec

from nuska.domain.errors import QueueAway, QueueMissing
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.domain.positions import floor_at
from nuska.domain.queues import Metadata, Queue
from nuska.stores.sqlite.queries import query
from nuska.stores.sqlite.registry import Registry
from nuska.stores.sqlite.rows import QueueRow, queue_of

ADD_QUEUE = query("add_queue")
START_GENERATION = query("start_generation")
RETIRE_GENERATION = query("retire_generation")
DELETE_QUEUE = query("delete_queue")
KEEP_LAST_POSITION = query("keep_last_position")
KEEP_MOMENT = query("keep_moment")
FENCE_QUEUE = query("fence_queue")
SET_POSITIONS = query("set_positions")
DELETE_ARRIVALS = query("delete_arrivals")
GET_LOG = query("get_log")
PUT_LOG = query("put_log")
EMPTY_LOG = query("empty_log")
DELETE_LOG = query("delete_log")

_encode = msgspec.json.Encoder().encode


class Transaction:
    """One transaction on the writer's connection; ``now`` is the moment of the running write."""

    def __init__(self, connection: apsw.Connection, registry: Registry) -> None:
        self.execute: Callable[..., Any] = connection.execute
        self.executemany: Callable[..., Any] = connection.executemany
        self.changes: Callable[[], int] = connection.total_changes
        self.now = Moment(0)
        self.touched: dict[QueueRef, QueueRow | None] = {}
        self.kept = Moment(0)
        """The timeline as a restart will find it, once this is committed."""
        self._registry = registry

    def row(self, ref: QueueRef) -> QueueRow | None:
        """The queue as this transaction sees it, or None; ``QueueAway`` when it is fenced."""
        row = self.any_row(ref)
        if row is not None and row.fenced:
            raise QueueAway
        return row

    def any_row(self, ref: QueueRef) -> QueueRow | None:
        """The queue, fenced or not."""
        if ref in self.touched:
            return self.touched[ref]
        row = self._registry.cached(ref)
        if row is None:
            row = self._registry.load(self.execute, ref)
        if row is not None:
            self.touched[ref] = row
        return row

    def became_ready(self, ref: QueueRef, generation: int, position: int) -> None:
        """Let a queue in memory know that a message stands in line again (``ready_from``)."""
        row = self.touched[ref] if ref in self.touched else self._registry.cached(ref)
        if row is not None and row.generation == generation:
            row.became_ready(position)

    def row_to_write(self, ref: QueueRef, *, create: bool) -> QueueRow:
        """The queue, created unless it must exist: then ``QueueMissing``."""
        row = self.row(ref)
        if row is None and not create:
            raise QueueMissing
        return row or self.create(ref, {}, relaxed=False)

    def create(self, ref: QueueRef, metadata: Metadata, *, relaxed: bool) -> QueueRow:
        """A queue that does not exist yet, above every position it ever had."""
        base = self.base_of_missing(ref)
        generation = self._registry.new_generation()
        encoded = _encode(metadata)
        values = (ref.project, ref.name, generation, base, base, encoded, int(relaxed))
        row_id, version = self.execute(ADD_QUEUE, values).fetchone()
        row = QueueRow(row_id, generation, base, base, queue_of(ref, encoded, relaxed, version))
        log = self.log(ref)
        row.log = None if log is None else log[0]
        self.touched[ref] = row
        return row

    def base_of_missing(self, ref: QueueRef) -> int:
        """Positions of a queue that does not exist would begin above this."""
        return self._registry.base_of_missing(ref, self.now)

    def fence(self, row: QueueRow, fenced: bool, epoch: int) -> None:
        """Let the queue answer only who carries it away, or everybody again."""
        self.execute(FENCE_QUEUE, (int(fenced), epoch, row.id))
        self.touched[row.queue.ref] = row.with_fence(fenced, epoch)

    def place(self, row: QueueRow, *, base: int, last: int) -> QueueRow:
        """Begin where the queue stood in another store; no position is given twice."""
        last = max(last, self._registry.last_position_of_deleted(row.queue.ref))
        self.execute(SET_POSITIONS, (base, last, row.id))
        placed = QueueRow(row.id, row.generation, base, last, row.queue)
        placed.fenced, placed.epoch, placed.log = row.fenced, row.epoch, row.log
        placed.unmarked = row.unmarked
        self.touched[row.queue.ref] = placed
        return placed

    def change(self, row: QueueRow, queue: Queue) -> None:
        """Remember other metadata for a queue."""
        self.touched[queue.ref] = row.with_queue(queue)

    def keep(self, row: QueueRow) -> QueueRow:
        """Remember a queue as it is by now."""
        self.touched[row.queue.ref] = row
        return row

    def begin_at(self, row: QueueRow, position: int) -> QueueRow:
        """Remember, once this is committed, where the queue's messages begin."""
        if position == row.ready_from:
            return row
        seen = self.touched[row.queue.ref] = row.with_ready_from(position)
        return seen

    def start_generation(self, row: QueueRow) -> None:
        """Make all content of a queue invisible; the sweep removes it (D17)."""
        self.execute(RETIRE_GENERATION, (row.generation,))
        fresh = row.in_generation(self._registry.new_generation())
        self.execute(
            START_GENERATION,
            (fresh.generation, fresh.base_position, fresh.last_position, fresh.id),
        )
        fresh.log = self._empty_log(row)
        self.touched[row.queue.ref] = fresh

    def delete(self, row: QueueRow) -> None:
        """Remove a queue; its name starts empty, its positions do not start again."""
        self.execute(RETIRE_GENERATION, (row.generation,))
        self.execute(DELETE_QUEUE, (row.id,))
        self.execute(DELETE_ARRIVALS, (row.id,))
        self._empty_log(row)
        self._registry.remember_deleted(row.queue.ref, row.last_position)
        self.touched[row.queue.ref] = None

    def log(self, ref: QueueRef) -> tuple[int, int] | None:
        """Generation and version of the queue's announcement log, if it is open."""
        found: tuple[int, int] | None = self.execute(GET_LOG, (ref.project, ref.name)).fetchone()
        return found

    def open_log(self, ref: QueueRef) -> int:
        """Keep what is posted from now on; the version, another one if the log was open."""
        found = self.log(ref)
        generation = self._registry.new_generation() if found is None else found[0]
        version: int = self.execute(PUT_LOG, (ref.project, ref.name, generation)).fetchone()[0]
        self._note_log(ref, generation)
        return version

    def close_log(self, ref: QueueRef) -> None:
        """Keep no longer what is posted; the sweep removes what is there."""
        found = self.log(ref)
        if found is not None:
            self.execute(RETIRE_GENERATION, found[:1])
            self.execute(DELETE_LOG, (ref.project, ref.name))
            self._note_log(ref, None)

    def _note_log(self, ref: QueueRef, generation: int | None) -> None:
        row = self.any_row(ref)
        if row is not None and row.log != generation:
            self.touched[ref] = row.with_log(generation)

    def _empty_log(self, row: QueueRow) -> int | None:
        """Make what the log holds invisible; the generation in which it goes on."""
        if row.log is None:
            return None
        self.execute(RETIRE_GENERATION, (row.log,))
        fresh = self._registry.new_generation()
        self.execute(EMPTY_LOG, (fresh, row.queue.ref.project, row.queue.ref.name))
        return fresh

    def before_commit(self, last_moment: Moment, kept: Moment) -> None:
        """Write down what a restart must know: the timeline, and counters ahead of it."""
        self.kept = max(last_moment, kept, self._registry.moment_past_deleted())
        if self.kept != kept:
            self.execute(KEEP_MOMENT, (self.kept,))
        ahead = floor_at(Moment(last_moment + 1))
        for row in self.touched.values():
            if row is not None and row.last_position >= ahead:
                self.execute(KEEP_LAST_POSITION, (row.last_position, row.id))
