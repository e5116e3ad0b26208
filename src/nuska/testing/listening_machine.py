"""Announcement logs in lockstep: opened, closed, read and trimmed between any other calls.

A driver's test subclasses ``LockstepWithLogs`` in place of ``LockstepWithCarriages``. What an
opening says of positions is each store's own; what stands in a log is compared after every step
that touched its queue.
"""

from typing import cast

from hypothesis import strategies as st
from hypothesis.stateful import rule

from nuska.domain.messages import QueueRef
from nuska.domain.positions import BEFORE_ALL, Position
from nuska.interfaces.announcing import AnnouncementStore, AnnouncingStore
from nuska.interfaces.storage import Store
from nuska.testing.lockstep import PLENTY
from nuska.testing.state_machine import LockstepWithCarriages, limits, picks, queues

VERSIONS_KEPT = 3
TRIMS_AT_MOST = 100


def logs_of(store: Store) -> AnnouncementStore:
    return cast(AnnouncingStore, store).announcements


class LockstepWithLogs(LockstepWithCarriages):
    def __init__(self) -> None:
        super().__init__()
        self.versions: dict[QueueRef, list[tuple[str, str]]] = {}
        """Of the last openings, at the model and at the other store."""

    @rule(queue=queues)
    def open_log(self, queue: QueueRef) -> None:
        seen: list[str] = []

        async def opened(store: Store) -> bool:
            log = await logs_of(store).open(queue, now=self.now)
            seen.append(log.version)
            own = 0 if store is self.model else 1  # versions are each store's own
            return log.version not in {pair[own] for pair in self.versions.get(queue, [])}

        self.ask(queue, opened)
        kept = [*self.versions.get(queue, []), (seen[0], seen[1])]
        self.versions[queue] = kept[-VERSIONS_KEPT:]

    @rule(queue=queues, which=st.sampled_from([-1, -1, -2]))
    def close_log(self, queue: QueueRef, which: int) -> None:
        versions = self.versions.get(queue, [])
        if len(versions) >= -which:
            model, other = versions[which]
            self.ask(
                queue,
                lambda store: logs_of(store).close(
                    queue, version=model if store is self.model else other, now=self.now
                ),
            )

    @rule(queue=queues, pick=picks, limit=limits)
    def page_log(self, queue: QueueRef, pick: int, limit: int) -> None:
        after = self.markers[pick % len(self.markers)]
        page = self.ask(
            queue,
            lambda store: logs_of(store).page(queue, after=after, limit=limit, now=self.now),
        ).model
        if isinstance(page, list) and page:
            self.markers.append(page[-1].position)

    @rule(queue=queues, pick=picks)
    def trim_log(self, queue: QueueRef, pick: int) -> None:
        through = self.markers[pick % len(self.markers)]

        async def trim(store: Store) -> None:
            for _ in range(TRIMS_AT_MOST):
                if not await logs_of(store).trim(queue, through=through, now=self.now):
                    return
            raise AssertionError(f"trimming had not ended after {TRIMS_AT_MOST} steps")

        self.ask(queue, trim)

    def _show(self, queue: QueueRef) -> None:
        super()._show(queue)
        self.ask(queue, lambda store: self._log(store, queue))

    async def _log(self, store: Store, queue: QueueRef) -> object:
        logs = logs_of(store)
        is_open = await logs.state(queue, now=self.now) is not None
        return [
            is_open,
            await logs.page(queue, after=Position(BEFORE_ALL), limit=PLENTY, now=self.now),
        ]
