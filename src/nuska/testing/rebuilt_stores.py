"""From a watched run to a verdict: the store is rebuilt at many cuts and each one is judged.

A cut is a place in the log of ``recording_vfs.py`` where the power fails. What
``synced_only`` shows changes only at syncs, so the place just before the next sync stands for
all cuts since the last one: by then the most has been acknowledged.
"""

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from random import Random

import apsw
from msgspec import Struct

from nuska.domain.messages import NewMessage, QueueRef
from nuska.domain.moments import Moment, seconds
from nuska.domain.positions import parse_message_id
from nuska.interfaces.storage import StoreOptions
from nuska.stores.sqlite.store import FILE_NAME, SqliteStore, open_sqlite
from nuska.testing.commit_order import CommitOrder, Line, Tape, Unfaithful
from nuska.testing.power_loss import Disk, Files, lay_out
from nuska.testing.recording_vfs import Event


class Verdict(Struct, kw_only=True):
    """What a run of cuts has shown."""

    cuts: int = 0
    states: set[int] = set()
    """The different prefixes found."""


class Judge:
    """Rebuilds stores in a directory of its own, one at a time."""

    def __init__(self, order: CommitOrder, log: list[Event], start: Moment, scratch: Path) -> None:
        self._order = order
        self._log = log
        self._start = start
        self._scratch = scratch / "rebuilt"
        self.verdict = Verdict()

    async def every_sync(self, first: int) -> Verdict:
        """A power loss before each sync since ``first``, and one at the end."""
        for place, disk in _before_each_sync(self._log, first):
            await self.judge(disk.synced_only(), self._order.acknowledged(place))
        return self.verdict

    async def torn(self, first: int, random: Random, cuts: int) -> Verdict:
        """A power loss at random places; what was not synced survives in part."""
        places = sorted(random.randint(first, len(self._log)) for _ in range(cuts))
        disk = Disk()
        for last, place in pairwise([0, *places]):
            disk.move(self._log[last:place])
            await self.judge(disk.torn(random), self._order.acknowledged(place))
        return self.verdict

    async def killed(self, first: int, random: Random, cuts: int) -> Verdict:
        """SIGKILL at random places: even relaxed writes are there."""
        places = sorted(random.randint(first, len(self._log)) for _ in range(cuts))
        disk = Disk()
        for last, place in pairwise([0, *places]):
            disk.move(self._log[last:place])
            needed = self._order.acknowledged(place, durable=False)
            await self.judge(disk.killed(), needed)
        return self.verdict

    async def judge(self, files: Files, at_least: int) -> None:
        """Raise ``Unfaithful`` unless these files hold a prefix of at least so many calls."""
        async with self._opened(files) as store:
            held = await self._order.check(store, at_least)
            await _goes_on_above(store, self._order.lines[:held])
        self.verdict.cuts += 1
        self.verdict.states.add(held)

    @asynccontextmanager
    async def _opened(self, files: Files) -> AsyncIterator[SqliteStore]:
        try:
            lay_out(files, self._scratch)
            _check_integrity(self._scratch / FILE_NAME)
            options = StoreOptions(
                url="sqlite:", data_dir=str(self._scratch), now=self._start, random_bytes=Tape(1)
            )
            store = await open_sqlite(options, synchronous="OFF")
            try:
                yield store
            finally:
                await store.close()
        finally:
            shutil.rmtree(self._scratch, ignore_errors=True)


def _before_each_sync(log: list[Event], first: int) -> Iterator[tuple[int, Disk]]:
    disk = Disk()
    for place, event in enumerate(log):
        if place >= first and (event.kind == "sync" or event.directory):
            yield place, disk
        disk.move([event])
    yield len(log), disk


def _check_integrity(path: Path) -> None:
    connection = apsw.Connection(str(path))
    try:
        found = connection.pragma("integrity_check")
    except apsw.CorruptError as error:
        found = str(error)
    finally:
        connection.close()
    if found != "ok":
        raise Unfaithful(f"integrity_check: {found}")


async def _goes_on_above(store: SqliteStore, held: list[Line]) -> None:
    """New messages stand behind everything that ever stood in their queue (I8, D6)."""
    highest: dict[QueueRef, int] = {}
    for line in held:
        if line.call.method == "messages.add" and line.positions:
            queue = line.call.arguments[0]
            highest[queue] = max(highest.get(queue, 0), *line.positions)
    letter = NewMessage(body=b"1", ttl=seconds(60))
    for queue, position in highest.items():
        added = await store.messages.add(queue, [letter], now=Moment(0))
        parsed = parse_message_id(added.ids[0])
        if parsed is None or parsed[0] <= position:
            raise Unfaithful(f"{queue.name} goes on at {parsed}, below {position}")
