"""The embedded store beside the model store, and the proof that the comparison can fail."""

from collections.abc import Callable, Sequence
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from msgspec.structs import replace

from nuska.domain.claims import Claimed
from nuska.domain.messages import DeleteOutcome, Message, Page, QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import BEFORE_ALL, Position
from nuska.domain.queues import Metadata, Queue
from nuska.interfaces.storage import RandomBytes, Store, StoreOptions
from nuska.stores.memory import MemoryStore
from nuska.stores.memory.announcements import MemoryAnnouncements
from nuska.stores.memory.claims import MemoryClaims
from nuska.stores.memory.messages import MemoryMessages
from nuska.stores.memory.queues import MemoryQueues
from nuska.stores.memory.state import State
from nuska.stores.sqlite import open_store as open_sqlite
from nuska.testing.clock import seeded_bytes
from nuska.testing.listening_machine import LockstepWithLogs
from nuska.testing.state_machine import Lockstep
from nuska.testing.two_clocks import TwoClocks
from nuska.testing.walks import walks

WALKS = walks(40, steps=50, shrinks=True)
UNTIL_FOUND = settings(
    WALKS,
    max_examples=5000,
    phases=[Phase.generate],
    derandomize=True,
    database=None,
    report_multiple_bugs=False,
)


class MemoryBesideMemory(LockstepWithLogs):
    async def open_other(self, now: Moment, random_bytes: RandomBytes) -> Store:
        return MemoryStore(now=now, random_bytes=random_bytes)


class MemoryBesideSqlite(LockstepWithLogs):
    durable = True

    def __init__(self) -> None:
        self.directory = TemporaryDirectory(prefix="nuska-lockstep-")
        super().__init__()

    async def open_other(self, now: Moment, random_bytes: RandomBytes) -> Store:
        return await open_sqlite(
            StoreOptions(
                url="sqlite:",
                data_dir=self.directory.name,
                now=now,
                random_bytes=random_bytes,
            )
        )

    def teardown(self) -> None:
        super().teardown()
        self.directory.cleanup()


class MemoryOfTwoClocks(TwoClocks):
    async def open_nodes(self, now: Moment) -> Sequence[Store]:
        return [MemoryStore(now=now, random_bytes=seeded_bytes())] * 2


def test_the_model_keeps_what_must_be_true_whatever_the_clocks() -> None:
    run_state_machine_as_test(MemoryOfTwoClocks, settings=WALKS)


class MemoryRunsBackwards(TwoClocks):
    async def open_nodes(self, now: Moment) -> Sequence[Store]:
        return [mistaken(RunsBackwards, now, seeded_bytes())] * 2


def test_a_store_that_goes_by_every_clock_is_found_out() -> None:
    with pytest.raises(AssertionError):
        run_state_machine_as_test(MemoryRunsBackwards, settings=UNTIL_FOUND)


def test_the_model_agrees_with_itself() -> None:
    run_state_machine_as_test(MemoryBesideMemory, settings=settings(WALKS, max_examples=10))


def test_the_embedded_store_answers_as_the_model_does() -> None:
    run_state_machine_as_test(MemoryBesideSqlite, settings=WALKS)


class ForgetsToUncount(MemoryClaims):
    async def release(self, queue: QueueRef, claim_id: str, **rest: Any) -> int:
        return await super().release(queue, claim_id, now=rest["now"])


class RenewsNothing(MemoryClaims):
    async def renew(self, queue: QueueRef, claim_id: str, **rest: Any) -> bool:
        return await self.get(queue, claim_id, now=rest["now"]) is not None


class GivesNoGrace(MemoryClaims):
    async def create(self, queue: QueueRef, **rest: Any) -> Claimed:
        return await super().create(queue, **{**rest, "grace": Duration(0)})


class KeepsTheLifeOfDeadLetters(MemoryClaims):
    async def create(self, queue: QueueRef, **rest: Any) -> Claimed:
        rule = rest["dead_letters"]
        kept = None if rule is None else replace(rule, ttl=None)
        return await super().create(queue, **{**rest, "dead_letters": kept})


class PutsBackIntoPurgedQueues(MemoryMessages):
    async def put_back(self, queue: QueueRef, popped: Sequence[Message], *, now: Moment) -> None:
        state = self._state.queues.get(queue)
        if state is not None:
            state.emptied_at = BEFORE_ALL
        await super().put_back(queue, popped, now=now)


class CutsPagesBeforeFiltering(MemoryMessages):
    async def page(self, queue: QueueRef, **rest: Any) -> Page:
        page = await super().page(queue, **{**rest, "hide_poster": None})
        shown = [m for m in page.messages if m.poster != rest.get("hide_poster")]
        return Page(shown, shown[-1].position if shown else rest["after"])


class DeletesUnderAnyClaim(MemoryMessages):
    async def delete(
        self, queue: QueueRef, message_id: str, *, claim_id: str | None = None, now: Moment
    ) -> DeleteOutcome:
        outcome = await super().delete(queue, message_id, claim_id=claim_id, now=now)
        if outcome is DeleteOutcome.OTHER_CLAIM:
            await super().delete_many(queue, [message_id], now=now)
        return outcome


class ForgetsKeysWhenPurged(MemoryQueues):
    async def purge(self, ref: QueueRef, *, now: Moment) -> None:
        await super().purge(ref, now=now)
        if ref in self._state.queues:
            self._state.queues[ref].posts.clear()


class DeletesByPurging(MemoryQueues):
    async def delete(self, ref: QueueRef, *, now: Moment) -> None:
        await self.purge(ref, now=now)


class LosesUpdates(MemoryQueues):
    async def replace_metadata(self, queue: Queue, metadata: Metadata, **rest: Any) -> bool:
        present = await self.get(queue.ref)
        return present is not None and await super().replace_metadata(present, metadata, **rest)


class KeepsTheLogOfPurgedQueues(MemoryQueues):
    async def purge(self, ref: QueueRef, *, now: Moment) -> None:
        log = self._state.logs.get(ref)
        announced = [] if log is None else log.announced
        await super().purge(ref, now=now)
        if log is not None:
            log.announced = announced


class ForgetsLogsOfDeletedQueues(MemoryQueues):
    async def delete(self, ref: QueueRef, *, now: Moment) -> None:
        if await self.get(ref) is not None:
            self._state.close_log(ref)
        await super().delete(ref, now=now)


class ClosesLogsForAnybody(MemoryAnnouncements):
    async def close(self, queue: QueueRef, *, version: str, now: Moment) -> bool:
        seen = await self.state(queue, now=now)
        return seen is not None and await super().close(queue, version=seen.version, now=now)


class TrimsTooMuch(MemoryAnnouncements):
    async def trim(self, queue: QueueRef, *, through: Position, now: Moment) -> bool:
        return await super().trim(queue, through=Position(2**53), now=now)


class RunsBackwards(State):
    def at(self, now: Moment) -> Moment:
        self._now = now
        return now


@pytest.mark.parametrize(
    "mistake",
    [
        ForgetsToUncount,
        RenewsNothing,
        GivesNoGrace,
        KeepsTheLifeOfDeadLetters,
        PutsBackIntoPurgedQueues,
        CutsPagesBeforeFiltering,
        DeletesUnderAnyClaim,
        ForgetsKeysWhenPurged,
        DeletesByPurging,
        LosesUpdates,
        RunsBackwards,
    ],
)
def test_a_store_with_a_mistake_is_found_out(mistake: Callable[..., Any]) -> None:
    class MemoryBesideMistaken(Lockstep):
        async def open_other(self, now: Moment, random_bytes: RandomBytes) -> Store:
            return mistaken(mistake, now, random_bytes)

    with pytest.raises(AssertionError):
        run_state_machine_as_test(MemoryBesideMistaken, settings=UNTIL_FOUND)


@pytest.mark.parametrize(
    "mistake",
    [
        KeepsTheLogOfPurgedQueues,
        ForgetsLogsOfDeletedQueues,
        ClosesLogsForAnybody,
        TrimsTooMuch,
    ],
)
def test_a_store_whose_logs_have_a_mistake_is_found_out(mistake: Callable[..., Any]) -> None:
    class MemoryBesideMistaken(LockstepWithLogs):
        async def open_other(self, now: Moment, random_bytes: RandomBytes) -> Store:
            return mistaken(mistake, now, random_bytes)

    with pytest.raises(AssertionError):
        run_state_machine_as_test(MemoryBesideMistaken, settings=UNTIL_FOUND)


def mistaken(mistake: Callable[..., Any], now: Moment, random_bytes: RandomBytes) -> Store:
    """A memory store of which one part is replaced."""
    store = MemoryStore(now=now, random_bytes=random_bytes)
    if mistake is RunsBackwards:
        state = RunsBackwards(now=now, random_bytes=random_bytes)
        store._state = state
        store.queues, store.messages = MemoryQueues(state), MemoryMessages(state)
        store.claims = MemoryClaims(state)
        return store
    part = mistake(store._state)
    for name in ("queues", "messages", "claims", "announcements"):
        if isinstance(part, type(getattr(store, name))):
            setattr(store, name, part)
    return store
