"""What each worker has counted, where every other one can read it: one piece of shared memory.

Whoever is asked for metrics answers for the node, so each worker writes down what it counts
every second, and adds up what all of them wrote. What a worker had counted is kept when it
dies, else counters would run backwards. prometheus-client's own way for several processes is
for its own counters, in files; ours are plain numbers that are read when somebody asks.

A place has two halves. A writer fills the one that is not shown and then shows it, with one
byte; a checksum tells a reader that was overtaken to look again.
"""

import asyncio
import mmap
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from prometheus_client.core import Metric

HALF = 1 << 20
"""Bytes for what one worker has counted; memory that nobody writes to is not used."""
PUBLISH_EVERY = 1.0
"""Seconds."""
SAID_ALIKE = frozenset({"nuska_quota_limit", "nuska_quota_used", "nuska_quota_used_age_seconds"})
"""Families that every worker says of the same thing: one of them is shown, not the sum."""
_PLACE = mmap.PAGESIZE + 2 * HALF
_HEAD = struct.Struct("<II")
"""Length and checksum before what is written."""
_LOOKS = 5


class Collector(Protocol):
    """What Prometheus' library calls one."""

    def collect(self) -> "Iterator[Metric]": ...


class Sample(Struct, array_like=True, frozen=True):
    name: str
    labels: dict[str, str]
    value: float


class Family(Struct, array_like=True, frozen=True):
    name: str
    meaning: str
    kind: str
    samples: list[Sample]


class Counted(Struct, array_like=True, frozen=True):
    """What is in one place: of a worker, or of all that have gone."""

    families: list[Family]
    pids: dict[int, int] = {}
    """By place: the process this is from, or, of those that have gone, the last one."""


class Board:
    """Made by the supervisor before the fork."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._memory = mmap.mmap(-1, (workers + 1) * _PLACE)
        self._gone = Counted([_ended(0)])
        self._write(workers, self._gone)

    def publish(self, number: int, collector: Collector) -> None:
        """Let everybody see what the worker ``number``, this process, has counted."""
        self._write(number, Counted(_families(collector.collect()), {number: os.getpid()}))

    def retire(self, number: int, pid: int) -> None:
        """The worker is gone, so says its supervisor: what it counted goes on counting, what
        it had at hand does not."""
        last = self._read(number)
        parts = [self._gone.families, [_ended(1)]]
        pids = self._gone.pids
        if last.pids.get(number) == pid:  # else it died before it wrote anything
            parts.append([family for family in last.families if family.kind != "gauge"])
            pids = pids | {number: pid}
        self._gone = Counted(summed(parts), pids)
        self._write(self._workers, self._gone)

    def with_others(self, number: int, own: "Iterable[Metric]") -> list[Family]:
        """What all workers have counted; ``own`` as of now, of the others as they last said."""
        gone = self._read(self._workers)
        parts = [_families(own), gone.families]
        for other in range(self._workers):
            counted = self._read(other)
            if other != number and counted.pids.get(other) != gone.pids.get(other):
                parts.append(counted.families)
        return summed(parts)

    def _write(self, place: int, counted: Counted) -> None:
        written = msgspec.msgpack.encode(counted)
        if len(written) > HALF - _HEAD.size:
            return  # what was written before stands: too little is better than nonsense
        start = place * _PLACE
        shown = 1 - self._memory[start]
        at = start + mmap.PAGESIZE + shown * HALF
        head = _HEAD.pack(len(written), zlib.crc32(written))
        self._memory[at : at + len(head) + len(written)] = head + written
        self._memory[start] = shown

    def _read(self, place: int) -> Counted:
        start = place * _PLACE
        for _ in range(_LOOKS):
            at = start + mmap.PAGESIZE + self._memory[start] * HALF
            length, checksum = _HEAD.unpack_from(self._memory, at)
            body = at + _HEAD.size
            written = self._memory[body : body + min(length, HALF - _HEAD.size)]
            if written and zlib.crc32(written) == checksum:
                return msgspec.msgpack.decode(written, type=Counted)
        return Counted([])


async def publish(board: Board, number: int, own: Collector) -> None:
    """Keep this worker's place up to date, until cancelled."""
    while True:
        board.publish(number, own)
        await asyncio.sleep(PUBLISH_EVERY)


class SummedCollector:
    """Prometheus' families of all workers."""

    def __init__(self, board: Board, number: int, own: Collector) -> None:
        self._board = board
        self._number = number
        self._own = own

    def collect(self) -> "Iterator[Metric]":
        from prometheus_client.core import Metric

        for family in self._board.with_others(self._number, self._own.collect()):
            metric = Metric(family.name, family.meaning, family.kind)
            for sample in family.samples:
                metric.add_sample(sample.name, sample.labels, sample.value)
            yield metric


def _ended(workers: int) -> Family:
    sample = Sample("nuska_workers_ended_total", {}, float(workers))
    return Family(
        "nuska_workers_ended", "Workers that ended and were replaced.", "counter", [sample]
    )


def _families(metrics: "Iterable[Metric]") -> list[Family]:
    return [
        Family(
            metric.name,
            metric.documentation,
            metric.type,
            [Sample(one.name, one.labels, float(one.value)) for one in metric.samples],
        )
        for metric in metrics
    ]


def summed(parts: Iterable[list[Family]]) -> list[Family]:
    """One family of each name, one sample of each name and labels, mostly by addition."""
    sums: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    shapes: dict[str, Family] = {}
    for families in parts:
        for family in families:
            shapes.setdefault(family.name, family)
            values = sums.setdefault(family.name, {})
            for sample in family.samples:
                key = (sample.name, tuple(sample.labels.items()))
                before = 0.0 if family.name in SAID_ALIKE else values.get(key, 0.0)
                values[key] = before + sample.value
    return [
        Family(
            name,
            shape.meaning,
            shape.kind,
            [Sample(one, dict(labels), value) for (one, labels), value in sums[name].items()],
        )
        for name, shape in shapes.items()
    ]
