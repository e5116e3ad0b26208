"""Claims whose messages are marked only for who looks: nobody can tell, and few ever are."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from msgspec.structs import replace

from nuska.domain.claims import DeadLetterRule
from nuska.domain.errors import Unavailable
from nuska.domain.messages import DeleteOutcome, Message, NewMessage, QueueRef
from nuska.domain.moments import seconds
from nuska.interfaces.storage import StoreOptions
from nuska.stores.sqlite import unmarked
from nuska.stores.sqlite.reader import Reader
from nuska.stores.sqlite.store import SqliteStore, open_sqlite
from nuska.testing.clock import ManualClock

JOBS = QueueRef("acme", "jobs")
DEAD = QueueRef("acme", "dead")
RULE = DeadLetterRule(queue=DEAD, max_claims=2, ttl=None)
DAY = seconds(86400)
TTL = seconds(60)
NEVER = 2**63


def claim_id(number: int) -> str:
    return f"{number:024x}"


async def post(store: SqliteStore, clock: ManualClock, count: int) -> list[str]:
    messages = [NewMessage(body=b"1", ttl=DAY)] * count
    return list((await store.messages.add(JOBS, messages, now=clock.now())).ids)


async def claim(
    store: SqliteStore, clock: ManualClock, number: int, limit: int, ttl: int = 60
) -> list[str]:
    claimed = await store.claims.create(
        JOBS, claim_id=claim_id(number), limit=limit, ttl=seconds(ttl), grace=TTL, now=clock.now()
    )
    return [message.id for message in claimed.messages]


class Marks:
    """What the file says, past the store."""

    def __init__(self, store: SqliteStore) -> None:
        self._connection = apsw.Connection(str(store.path), flags=apsw.SQLITE_OPEN_READONLY)

    @property
    def marked(self) -> int:
        return int(self._connection.execute("SELECT count(claim) FROM messages").get)

    @property
    def unmarked(self) -> int:
        return int(self._connection.execute("SELECT count(*) FROM unmarked").get)

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def marks(sqlite: SqliteStore) -> Iterator[Marks]:
    seen = Marks(sqlite)
    yield seen
    seen.close()


class Walk:
    """Calls that chance chooses, and what each answered."""

    def __init__(self, options: StoreOptions, directory: Path, seed: int) -> None:
        self._dice = random.Random(seed)
        self._options = replace(
            options, data_dir=str(directory), random_bytes=random.Random(seed).randbytes
        )
        self._clock = ManualClock()
        self._ids: list[str] = []
        self._claims: list[str] = []
        self._popped: list[Message] = []
        self.told: list[object] = []
        self.dues: list[int] = []

    async def go(self, steps: int) -> None:
        store = await open_sqlite(self._options)
        for _ in range(steps):
            call = self._dice.choice(self._calls())
            if call is None:
                await store.close()
                store = await open_sqlite(self._options)
            else:
                self.told.append((call.__name__, await call(store)))
            if self._dice.random() < 0.4:
                self._clock.advance(milliseconds=self._dice.choice([1, 1500, 1500, 20_000, 65_000]))
        self.told.append(await self._look(store))
        await store.close()

    def _calls(self) -> list[Any]:
        often = [self._post, self._post, self._claim, self._together, self._delete_claimed]
        seldom = [self._delete, self._renew, self._release, self._pop, self._sweep]
        return often * 5 + seldom * 2 + [self._put_back, self._look, self._count, self._due, None]

    def _some(self, all_of: list[str], most: int) -> list[str]:
        last = all_of[-8:]
        return self._dice.sample(last, min(self._dice.randint(1, most), len(last)))

    async def _post(self, store: SqliteStore) -> object:
        dice = self._dice
        new = [
            NewMessage(
                body=b"1" * dice.choice([1] * 20 + [9000]),
                ttl=seconds(dice.choice([70, 200, 900, 900, 900])),
                delay=seconds(dice.choice([0] * 9 + [30])),
            )
            for _ in range(dice.randint(1, 9))
        ]
        added = await store.messages.add(JOBS, new, now=self._clock.now())
        self._ids += added.ids
        return added

    def _new_claim(self) -> str:
        self._claims.append(claim_id(len(self._claims) + 1))
        return self._claims[-1]

    async def _claim(self, store: SqliteStore) -> object:
        dice = self._dice
        return await store.claims.create(
            JOBS,
            claim_id=self._new_claim(),
            limit=dice.randint(1, 6),
            ttl=seconds(dice.choice([60, 90])),
            grace=seconds(dice.choice([0, 60])),
            dead_letters=dice.choice([None] * 9 + [RULE]),
            now=self._clock.now(),
        )

    async def _together(self, store: SqliteStore) -> object:
        return await store.claims.create_together(
            JOBS,
            claim_ids=[self._new_claim() for _ in range(self._dice.randint(2, 5))],
            limit=self._dice.randint(1, 4),
            ttl=TTL,
            grace=TTL,
            enough=10**6,
            now=self._clock.now(),
        )

    async def _delete_claimed(self, store: SqliteStore) -> object:
        """What is in a claim, most of the time all of it."""
        for one in self._some(self._claims, 1):
            found = (
                await store.claims.get(JOBS, one, now=self._clock.now())
                if (self._dice.random() < 0.1)
                else None
            )
            ids = self._held.get(one, []) if found is None else [m.id for m in found.messages]
            if self._dice.random() < 0.3:
                ids = ids[: self._dice.randint(0, len(ids))]
            named = self._dice.choice([[one], [one], [one, *self._some(self._claims, 2)]])
            done = await store.messages.delete_many(
                JOBS, ids, claim_ids=named, now=self._clock.now()
            )
            return one, ids, done
        return None

    @property
    def _held(self) -> dict[str, list[str]]:
        """By claim: the messages that it got."""
        held: dict[str, list[str]] = {}
        for entry in self.told:
            answers = entry[1] if isinstance(entry, tuple) else None
            for claimed in answers if isinstance(answers, list) else [answers]:
                for message in getattr(claimed, "messages", ()):
                    if message.claim_id:
                        held.setdefault(message.claim_id, []).append(message.id)
        return held

    async def _delete(self, store: SqliteStore) -> object:
        answers: list[object] = []
        for one in self._some(self._ids, 3):
            claims: list[str | None] = [None, *self._some(self._claims, 1)]
            claims += [claim for claim, ids in self._held.items() if one in ids]
            answers.append(
                await store.messages.delete(
                    JOBS, one, claim_id=self._dice.choice(claims), now=self._clock.now()
                )
            )
        if self._dice.random() < 0.1:
            ids = self._some(self._ids, 3)
            answers.append(await store.messages.delete_many(JOBS, ids, now=self._clock.now()))
        return answers

    async def _renew(self, store: SqliteStore) -> object:
        return [
            await store.claims.renew(
                JOBS, one, ttl=seconds(80), grace=seconds(30), now=self._clock.now()
            )
            for one in self._some(self._claims, 2)
        ]

    async def _release(self, store: SqliteStore) -> object:
        uncount = self._dice.random() < 0.3
        return [
            await store.claims.release(JOBS, one, uncount=uncount, now=self._clock.now())
            for one in self._some(self._claims, 1)
        ]

    async def _pop(self, store: SqliteStore) -> object:
        self._popped = await store.messages.pop(
            JOBS, limit=self._dice.randint(1, 4), now=self._clock.now()
        )
        return self._popped

    async def _put_back(self, store: SqliteStore) -> object:
        await store.messages.put_back(JOBS, self._popped, now=self._clock.now())
        return None

    async def _sweep(self, store: SqliteStore) -> object:
        due = []
        for _ in range(200):
            report = await store.sweep(now=self._clock.now())
            due += report.due
            if not report.more:
                break
        return sorted(set(due))

    async def _look(self, store: SqliteStore) -> object:
        now = self._clock.now()
        page = await store.messages.page(JOBS, after=0, limit=100, now=now)
        everything = await store.messages.page(
            JOBS, after=0, limit=500, include_claimed=True, include_delayed=True, now=now
        )
        some = await store.messages.get(JOBS, self._some(self._ids, 5), now=now)
        claims = [await store.claims.get(JOBS, one, now=now) for one in self._some(self._claims, 3)]
        return page, everything, some, claims

    async def _count(self, store: SqliteStore) -> object:
        now = self._clock.now()
        stats = await store.queues.stats(JOBS, now=now)
        return stats, await store.claims.count(JOBS, now=now)

    async def _due(self, store: SqliteStore) -> None:
        """It may be the end of a claim that holds nothing any more: who waits looks once more."""
        due = await store.messages.next_due(JOBS, now=self._clock.now())
        self.dues.append(NEVER if due is None else due)


@pytest.mark.parametrize("seed", range(60))
async def test_nobody_can_tell_whether_messages_are_marked(
    options: StoreOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    walks = []
    for name in ("put off", "at once"):
        walks.append(Walk(options, tmp_path / name, seed))
        await walks[-1].go(120)
        monkeypatch.setattr("nuska.stores.sqlite.claiming.may_wait", lambda *_: False)
    for put_off, at_once in zip(walks[0].told, walks[1].told, strict=True):
        assert put_off == at_once
    for looked_too_early, due in zip(walks[0].dues, walks[1].dues, strict=True):
        assert looked_too_early <= due


async def test_claims_of_what_stands_side_by_side_mark_nothing(
    sqlite: SqliteStore, clock: ManualClock, marks: Marks
) -> None:
    for _ in range(3):
        await post(sqlite, clock, 3)
        clock.advance(milliseconds=7)
    for number, most in ((1, 2), (2, 3), (3, 4)):
        assert len(await claim(sqlite, clock, number, most)) == most
    assert (marks.marked, marks.unmarked) == (0, 3)
    assert await claim(sqlite, clock, 4, 3) == []


async def test_a_claim_whose_messages_are_deleted_has_nothing_to_mark(
    sqlite: SqliteStore, clock: ManualClock, marks: Marks
) -> None:
    await post(sqlite, clock, 5)
    together, alone = await claim(sqlite, clock, 1, 4), await claim(sqlite, clock, 2, 1)
    assert await sqlite.messages.delete_many(
        JOBS, together, claim_ids=[claim_id(1)], now=clock.now()
    )
    assert marks.unmarked == 1
    [only] = alone
    outcome = await sqlite.messages.delete(JOBS, only, claim_id=claim_id(2), now=clock.now())
    assert outcome is DeleteOutcome.DELETED
    assert (marks.marked, marks.unmarked) == (0, 0)


async def test_who_looks_has_all_marked_and_for_a_second_what_is_claimed(
    sqlite: SqliteStore, clock: ManualClock, marks: Marks
) -> None:
    await post(sqlite, clock, 6)
    await claim(sqlite, clock, 1, 2)
    assert (await sqlite.queues.stats(JOBS, now=clock.now())).claimed == 2
    assert (marks.marked, marks.unmarked) == (2, 0)
    clock.advance(milliseconds=unmarked.MARKED_FOR - 1)
    await claim(sqlite, clock, 2, 2)
    assert (marks.marked, marks.unmarked) == (4, 0)
    clock.advance(milliseconds=1)
    await claim(sqlite, clock, 3, 2)
    assert (marks.marked, marks.unmarked) == (4, 1)


async def test_a_delete_by_a_foreign_claim_is_refused_and_the_owners_is_not(
    sqlite: SqliteStore, clock: ManualClock
) -> None:
    await post(sqlite, clock, 2)
    mine, _ = await claim(sqlite, clock, 1, 1), await claim(sqlite, clock, 2, 1)

    async def delete(claimed_as: str | None) -> DeleteOutcome:
        return await sqlite.messages.delete(JOBS, mine[0], claim_id=claimed_as, now=clock.now())

    assert await delete(None) is DeleteOutcome.CLAIMED
    assert await delete(claim_id(2)) is DeleteOutcome.OTHER_CLAIM
    assert await delete(claim_id(3)) is DeleteOutcome.CLAIM_GONE
    assert not await sqlite.messages.delete_many(
        JOBS, mine, claim_ids=[claim_id(2)], now=clock.now()
    )
    assert await delete(claim_id(1)) is DeleteOutcome.DELETED


async def test_an_end_that_nobody_has_swept_is_an_end(
    sqlite: SqliteStore, clock: ManualClock
) -> None:
    await post(sqlite, clock, 2)
    ids = await claim(sqlite, clock, 1, 2, ttl=60)
    assert await sqlite.messages.next_due(JOBS, now=clock.now()) == clock.now() + TTL
    clock.advance(milliseconds=60_000)
    assert not await sqlite.messages.delete_many(
        JOBS, ids, claim_ids=[claim_id(1)], now=clock.now()
    )
    again = await sqlite.claims.create(
        JOBS, claim_id=claim_id(2), limit=5, ttl=TTL, grace=TTL, now=clock.now()
    )
    assert [(one.id, one.claim_count) for one in again.messages] == [(one, 2) for one in ids]


async def test_the_sweep_ends_claims_of_a_queue_that_has_many_in_steps(
    sqlite: SqliteStore, clock: ManualClock, marks: Marks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unmarked, "MESSAGES_PER_STEP", 3)
    await post(sqlite, clock, 20)
    first = await claim(sqlite, clock, 1, 2, ttl=60)
    for number in range(2, 11):
        await claim(sqlite, clock, number, 2, ttl=300)
    clock.advance(milliseconds=60_000)
    steps = 0
    due: list[QueueRef] = []
    while not due:
        steps += 1
        report = await sqlite.sweep(now=clock.now())
        assert report.more
        due = list(report.due)
    assert due == [JOBS]
    assert steps > 4
    assert marks.marked == 18
    free = await sqlite.messages.page(JOBS, after=0, limit=50, now=clock.now())
    assert [one.id for one in free.messages] == first


async def test_the_end_of_a_claim_that_was_emptied_marks_nothing(
    sqlite: SqliteStore, clock: ManualClock, marks: Marks
) -> None:
    await post(sqlite, clock, 4)
    for one in await claim(sqlite, clock, 1, 2, ttl=60):
        await sqlite.messages.delete(JOBS, one, claim_id=claim_id(1), now=clock.now())
    assert marks.unmarked == 0
    await claim(sqlite, clock, 2, 2, ttl=300)
    clock.advance(milliseconds=60_000)
    while (await sqlite.sweep(now=clock.now())).more:
        pass
    assert (marks.marked, marks.unmarked) == (0, 1)


async def test_a_queue_has_no_more_to_mark_than_can_be_marked_in_a_moment(
    sqlite: SqliteStore, clock: ManualClock, marks: Marks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unmarked, "MAX_MESSAGES", 10)
    await post(sqlite, clock, 60)
    for number in range(1, 21):
        assert len(await claim(sqlite, clock, number, 3)) == 3
        assert marks.unmarked * 3 <= 10
    assert marks.marked >= 50


async def test_large_messages_are_marked_at_once(
    sqlite: SqliteStore, clock: ManualClock, marks: Marks
) -> None:
    large = NewMessage(body=b"1" * (unmarked.MAX_MEAN_SIZE + 1), ttl=DAY)
    await sqlite.messages.add(JOBS, [large, large], now=clock.now())
    await claim(sqlite, clock, 1, 2)
    assert (marks.marked, marks.unmarked) == (2, 0)


async def test_who_carries_a_queue_away_finds_its_messages_in_their_claims(
    sqlite: SqliteStore, clock: ManualClock
) -> None:
    await post(sqlite, clock, 3)
    await claim(sqlite, clock, 1, 2)
    await sqlite.transfers.fence(JOBS, epoch=1, now=clock.now())
    carried = await sqlite.transfers.dump(JOBS, after=0, limit=10, now=clock.now())
    assert [one.claim_id for one in carried] == [claim_id(1), claim_id(1), None]
    assert [one.claim_count for one in carried] == [1, 1, 0]


async def test_a_restart_knows_who_has_what(options: StoreOptions, clock: ManualClock) -> None:
    store = await open_sqlite(options)
    await post(store, clock, 4)
    mine = await claim(store, clock, 1, 2)
    await store.close()
    store = await open_sqlite(options)
    assert len(await claim(store, clock, 2, 5)) == 2
    found = await store.messages.get(JOBS, mine, now=clock.now())
    assert [one.claim_id for one in found] == [claim_id(1)] * 2
    await store.close()


async def test_a_claim_that_was_not_committed_holds_nothing(
    sqlite: SqliteStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await post(sqlite, clock, 2)

    def fails(*_: object) -> None:
        raise ValueError("after the claim was written down")

    with monkeypatch.context() as patch:
        patch.setattr("nuska.stores.sqlite.claiming.add", fails)
        with pytest.raises(ValueError, match="written down"):
            await claim(sqlite, clock, 1, 2)
    assert len(await claim(sqlite, clock, 2, 2)) == 2


async def test_deletes_that_name_no_claim_leave_nothing_to_mark_either(
    sqlite: SqliteStore, clock: ManualClock, marks: Marks
) -> None:
    await post(sqlite, clock, 6)
    first, _, third = [await claim(sqlite, clock, number, 2) for number in (1, 2, 3)]
    assert await sqlite.messages.delete_many(JOBS, third, now=clock.now())
    assert await sqlite.messages.delete_many(JOBS, first, now=clock.now())
    assert (marks.marked, marks.unmarked) == (0, 1)


async def test_who_looks_while_claims_go_on_sees_them(
    sqlite: SqliteStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long look waits for its thread, and sees the queue as it is then."""
    await post(sqlite, clock, 4)
    scan, numbers = Reader.scan, iter((1, 2))

    async def late(reader: Reader, work: Callable[[apsw.Connection], Any]) -> Any:
        if number := next(numbers, 0):
            clock.advance(milliseconds=unmarked.MARKED_FOR)
            assert len(await claim(sqlite, clock, number, 2)) == 2
        return await scan(reader, work)

    monkeypatch.setattr(Reader, "scan", late)
    assert await sqlite.claims.count(JOBS, now=clock.now()) == 2


async def test_a_queue_that_was_not_in_memory_has_its_messages_for_claims_with_dead_letters(
    sqlite: SqliteStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await post(sqlite, clock, 3)
    clock.advance(milliseconds=5)
    monkeypatch.setattr("nuska.stores.sqlite.registry.MAX_QUEUES", 1)
    for name in ("one", "another"):
        await sqlite.queues.create(QueueRef("acme", name), {}, now=clock.now())
    claimed = await sqlite.claims.create(
        JOBS, claim_id=claim_id(1), limit=5, ttl=TTL, grace=TTL, dead_letters=RULE, now=clock.now()
    )
    assert [one.id for one in claimed.messages] == ids


async def test_a_file_without_the_table_is_refused_with_a_sentence(
    options: StoreOptions, clock: ManualClock
) -> None:
    store = await open_sqlite(options)
    await store.close()
    connection = apsw.Connection(str(store.path))
    connection.execute("DROP TABLE unmarked")
    connection.close()
    with pytest.raises(Unavailable, match="does not have the tables of this release"):
        await open_sqlite(options)


async def test_an_end_that_has_passed_is_not_remembered_when_its_claim_has_gone(
    sqlite: SqliteStore, clock: ManualClock, marks: Marks
) -> None:
    """A stream of claims whose messages are deleted goes on without marks."""
    await post(sqlite, clock, 60)
    before = await claim(sqlite, clock, 1, 2)
    for number in range(2, 20):
        clock.advance(milliseconds=10_000)
        ids = await claim(sqlite, clock, number, 2)
        assert len(ids) == 2
        await sqlite.messages.delete_many(JOBS, before, now=clock.now())
        before = ids
    assert (marks.marked, marks.unmarked) == (0, 1)
