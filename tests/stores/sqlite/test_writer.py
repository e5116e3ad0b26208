"""Group commit: who shares a transaction, who is told what, and when."""

import asyncio
import gc
import threading
import time
import weakref

import apsw
import pytest

from nuska.domain.errors import NotFound, Unavailable
from nuska.domain.messages import NewMessage, QueueRef
from nuska.domain.moments import seconds
from nuska.stores.sqlite import pace
from nuska.stores.sqlite import writer as writer_module
from nuska.stores.sqlite.line import Work, Write
from nuska.stores.sqlite.store import SqliteStore
from nuska.stores.sqlite.transaction import Transaction
from nuska.testing.clock import ManualClock

INBOX = QueueRef("acme", "inbox")
LETTER = NewMessage(body=b'"letter"', ttl=seconds(300))


@pytest.fixture
def slow_disk(sqlite: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Commits wait for this, and fail when it does not come."""
    ready = threading.Event()
    writer = sqlite.writer
    commit = writer._commit

    def slow(group: list[Write], transaction: Transaction) -> None:
        if ready.wait(10):
            commit(group, transaction)
        else:
            writer._loop.call_soon_threadsafe(writer._fail, group, TimeoutError())

    monkeypatch.setattr(writer, "_commit", slow)
    return ready


async def test_writes_that_wait_together_share_one_commit(
    sqlite: SqliteStore, clock: ManualClock
) -> None:
    before = sqlite.writer.commits
    async with asyncio.TaskGroup() as producers:
        for _ in range(50):
            producers.create_task(sqlite.messages.add(INBOX, [LETTER], now=clock.now()))
    assert sqlite.writer.commits - before == 1
    assert (await sqlite.queues.stats(INBOX, now=clock.now())).ready == 50


async def test_a_large_group_lets_others_have_a_turn_between_its_writes(
    sqlite: SqliteStore, clock: ManualClock
) -> None:
    order: list[str] = []

    def take_long(transaction: Transaction) -> None:
        time.sleep(2 * writer_module.LONGEST_TURN)
        order.append("write")

    async def turns() -> None:
        while len(order) < 10:
            order.append("turn")
            await asyncio.sleep(0)

    before = sqlite.writer.commits
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(sqlite.writer.run(take_long, now=clock.now()))
        group.create_task(turns())
    assert sqlite.writer.commits - before == 1
    first, last = order.index("write"), len(order) - order[::-1].index("write")
    assert "turn" in order[first:last]


async def test_a_refused_write_leaves_its_companions_untouched(
    sqlite: SqliteStore, clock: ManualClock
) -> None:
    def refuse(transaction: Transaction) -> None:
        raise NotFound("nothing there")

    refused, added = await asyncio.gather(
        sqlite.writer.run(refuse, now=clock.now()),
        sqlite.messages.add(INBOX, [LETTER], now=clock.now()),
        return_exceptions=True,
    )
    assert isinstance(refused, NotFound)
    assert not isinstance(added, BaseException)
    assert len(await sqlite.messages.get(INBOX, added.ids, now=clock.now())) == 1


async def test_a_bug_in_one_write_is_its_own_and_what_it_wrote_is_undone(
    sqlite: SqliteStore, clock: ManualClock
) -> None:
    other = QueueRef("acme", "other")

    def stumble(transaction: Transaction) -> None:
        transaction.create(other, {}, relaxed=False)
        raise ZeroDivisionError

    first, stumbled, second = await asyncio.gather(
        sqlite.messages.add(INBOX, [LETTER], now=clock.now()),
        sqlite.writer.run(stumble, now=clock.now()),
        sqlite.messages.add(INBOX, [LETTER], now=clock.now()),
        return_exceptions=True,
    )
    assert isinstance(stumbled, ZeroDivisionError)
    assert not isinstance(first, BaseException)
    assert not isinstance(second, BaseException)
    assert await sqlite.queues.get(other) is None
    page = await sqlite.messages.page(INBOX, after=0, limit=10, now=clock.now())  # type: ignore[arg-type]
    assert [message.id for message in page.messages] == [*first.ids, *second.ids]


async def test_a_refusal_that_has_already_written_is_treated_as_a_bug(
    sqlite: SqliteStore, clock: ManualClock
) -> None:
    def sloppy(transaction: Transaction) -> None:
        transaction.create(INBOX, {}, relaxed=False)
        raise NotFound("too late")

    with pytest.raises(AssertionError):
        await sqlite.writer.run(sloppy, now=clock.now())
    assert await sqlite.queues.get(INBOX) is None


async def test_nobody_sees_or_hears_of_a_write_before_it_is_committed(
    sqlite: SqliteStore, clock: ManualClock, slow_disk: threading.Event
) -> None:
    posting = asyncio.ensure_future(sqlite.messages.add(INBOX, [LETTER], now=clock.now()))
    for _ in range(20):
        await asyncio.sleep(0)
        assert await sqlite.queues.get(INBOX) is None
        assert not posting.done()
    slow_disk.set()
    added = await posting
    assert len(await sqlite.messages.get(INBOX, added.ids, now=clock.now())) == 1


async def test_answers_are_made_while_the_disk_works(
    sqlite: SqliteStore, clock: ManualClock, slow_disk: threading.Event
) -> None:
    def finish(result: int) -> str:
        slow_disk.set()  # it works for as long as this takes
        return f"answer {result}"

    answer = await sqlite.writer.run(lambda _: 7, now=clock.now(), finish=finish)
    assert answer == "answer 7"


async def test_answers_that_take_long_to_make_do_not_keep_others_from_their_turn(
    sqlite: SqliteStore, clock: ManualClock, slow_disk: threading.Event
) -> None:
    made = 0

    def take_long(_: None) -> int:
        nonlocal made
        time.sleep(2 * writer_module.LONGEST_TURN)
        made += 1
        return made

    writes = [
        asyncio.ensure_future(sqlite.writer.run(lambda _: None, now=clock.now(), finish=take_long))
        for _ in range(3)
    ]
    for _ in range(20):
        await asyncio.sleep(0)
    assert made == 1
    slow_disk.set()
    assert await asyncio.gather(*writes) == [1, 2, 3]


async def test_an_answer_that_cannot_be_made_is_one_caller_s_error(
    sqlite: SqliteStore, clock: ManualClock
) -> None:
    def refuse(transaction: Transaction) -> None:
        raise NotFound("nothing there")

    def stumble(result: object) -> None:
        raise ZeroDivisionError(result)

    first, stumbled, refused, second = await asyncio.gather(
        sqlite.messages.add(INBOX, [LETTER], now=clock.now()),
        sqlite.writer.run(lambda _: 7, now=clock.now(), finish=stumble),
        sqlite.writer.run(refuse, now=clock.now(), finish=stumble),
        sqlite.messages.add(INBOX, [LETTER], now=clock.now()),
        return_exceptions=True,
    )
    assert isinstance(stumbled, ZeroDivisionError)
    assert isinstance(refused, NotFound)
    assert not isinstance(first, BaseException)
    assert not isinstance(second, BaseException)
    assert len(await sqlite.messages.get(INBOX, [*first.ids, *second.ids], now=clock.now())) == 2


async def test_the_answer_to_a_relaxed_write_is_finished_too(
    sqlite: SqliteStore, clock: ManualClock
) -> None:
    answer = await sqlite.writer.run(lambda _: 7, now=clock.now(), relaxed=True, finish=str)
    assert answer == "7"


@pytest.mark.parametrize("crowded", [False, True])
async def test_callers_have_their_turn_before_the_next_statements_unless_they_are_a_crowd(
    sqlite: SqliteStore,
    clock: ManualClock,
    slow_disk: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
    crowded: bool,
) -> None:
    if crowded:
        monkeypatch.setattr(writer_module, "CROWD", 0)
    order: list[str] = []
    running = asyncio.Event()

    def run_first(_: Transaction) -> None:
        order.append("first runs")
        running.set()

    async def write(name: str, work: Work[None]) -> None:
        await sqlite.writer.run(work, now=clock.now())
        order.append(f"{name} is answered")

    async with asyncio.TaskGroup() as group:
        group.create_task(write("first", run_first))
        await running.wait()
        group.create_task(write("second", lambda _: order.append("second runs")))
        await asyncio.sleep(0)
        slow_disk.set()
    between = ["first is answered", "second runs"]
    if crowded:
        between.reverse()
    assert order == ["first runs", *between, "second is answered"]


async def test_a_long_post_lets_other_requests_have_their_turn(
    sqlite: SqliteStore, clock: ManualClock
) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    watching = asyncio.create_task(others())
    await sqlite.messages.add(INBOX, [LETTER] * 5000, now=clock.now())
    watching.cancel()
    assert turns >= 5000 // 250
    assert (await sqlite.queues.stats(INBOX, now=clock.now())).ready == 5000


async def test_more_writes_than_can_be_answered_in_time_are_refused(
    sqlite: SqliteStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "MAX_WAITING", 5)
    answers = await asyncio.gather(
        *(sqlite.messages.add(INBOX, [LETTER], now=clock.now()) for _ in range(8)),
        return_exceptions=True,
    )
    refused = [answer for answer in answers if isinstance(answer, Unavailable)]
    assert len(refused) == 3
    assert (await sqlite.queues.stats(INBOX, now=clock.now())).ready == 5


async def test_a_caller_that_gave_up_does_not_disturb_the_others(
    sqlite: SqliteStore, clock: ManualClock
) -> None:
    impatient = asyncio.ensure_future(sqlite.messages.add(INBOX, [LETTER], now=clock.now()))
    patient = asyncio.ensure_future(sqlite.messages.add(INBOX, [LETTER], now=clock.now()))
    await asyncio.sleep(0)
    impatient.cancel()
    assert len((await patient).ids) == 1


async def test_closing_finishes_the_writes_in_line_and_refuses_later_ones(
    sqlite: SqliteStore, clock: ManualClock
) -> None:
    posting = asyncio.ensure_future(sqlite.messages.add(INBOX, [LETTER], now=clock.now()))
    await asyncio.sleep(0)
    await sqlite.close()
    assert len((await posting).ids) == 1
    with pytest.raises(Unavailable):
        await sqlite.messages.add(INBOX, [LETTER], now=clock.now())


async def test_writes_to_a_relaxed_queue_are_not_synced(
    sqlite: SqliteStore, clock: ManualClock
) -> None:
    sensors = QueueRef("acme", "sensors")
    await sqlite.queues.create(sensors, {"_durability": "relaxed"}, relaxed=True, now=clock.now())
    # A synced commit needs the thread; one that is not synced is answered without it.
    synced = 0
    commit = sqlite.writer._commit

    def counted(*arguments: object) -> None:
        nonlocal synced
        synced += 1
        commit(*arguments)  # type: ignore[arg-type]

    sqlite.writer._commit = counted  # type: ignore[method-assign]
    await sqlite.messages.add(sensors, [LETTER], now=clock.now())
    assert synced == 0
    await sqlite.messages.add(INBOX, [LETTER], now=clock.now())
    assert synced == 1


class Held:
    """What a write holds on to; bytes themselves cannot be watched."""


@pytest.mark.parametrize("error", [NotFound("nothing there"), apsw.FullError("no room")])
async def test_a_write_that_fails_leaves_nothing_for_the_garbage_collector(
    sqlite: SqliteStore, clock: ManualClock, error: Exception
) -> None:
    async def fails() -> weakref.ref[Held]:
        held = Held()

        def work(transaction: Transaction) -> None:
            raise type(error)(f"{error} for {held}")

        try:
            await sqlite.writer.run(work, now=clock.now())
        except (NotFound, Unavailable):
            return weakref.ref(held)
        raise AssertionError("it did not fail")

    gc.disable()
    try:
        left = await asyncio.create_task(fails())
        await sqlite.writer.run(lambda _: None, now=clock.now())
        assert left() is None
    finally:
        gc.enable()


async def test_after_a_crowd_a_group_takes_about_half_of_it(
    sqlite: SqliteStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "WRITES_PER_SECOND", 1)  # any disk is quick enough for halves
    sizes: list[int] = []
    perform = sqlite.writer._perform

    def noted(group: list[Write], relaxed: bool) -> None:
        sizes.append(len(group))
        perform(group, relaxed)

    monkeypatch.setattr(sqlite.writer, "_perform", noted)
    for _ in range(3):
        async with asyncio.TaskGroup() as crowd:
            for _ in range(32):
                crowd.create_task(sqlite.messages.add(INBOX, [LETTER], now=clock.now()))
    assert sizes[0] == 32
    assert sizes[1] == 16


async def test_after_a_relaxed_commit_a_lone_write_begins_at_once(
    sqlite: SqliteStore, clock: ManualClock
) -> None:
    relaxed = QueueRef("acme", "relaxed")
    await sqlite.queues.create(relaxed, {}, relaxed=True, now=clock.now())
    async with asyncio.TaskGroup() as crowd:
        for _ in range(32):
            crowd.create_task(sqlite.messages.add(INBOX, [LETTER], now=clock.now()))
    await sqlite.messages.add(relaxed, [LETTER], now=clock.now())
    assert sqlite.writer._pace.may_begin(1, time.perf_counter())
