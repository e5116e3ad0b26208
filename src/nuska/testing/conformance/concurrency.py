"""Many clients at once: exclusive claims, whole batches, commit order, complete walks."""

import asyncio
import random
from collections import Counter

from nuska.domain.messages import DeleteOutcome, Message
from nuska.domain.moments import Duration
from nuska.domain.positions import BEFORE_ALL
from nuska.domain.queues import EMPTY_STATS
from nuska.testing.conformance.inbox import (
    HOUR,
    MINUTE,
    NOTHING,
    Conformance,
    Inbox,
    bodies,
    sweep_all,
)


class ConcurrencyConformance(Conformance):
    async def test_claims_at_once_never_share_a_message(self, inbox: Inbox) -> None:
        await inbox.post(*(str(n) for n in range(100)))
        claims = await asyncio.gather(*(inbox.claim(n, limit=7) for n in range(16)))
        taken = [message.id for claim in claims for message in claim]
        assert len(taken) == len(set(taken)) == 100
        for claim in claims:
            assert [m.position for m in claim] == sorted(m.position for m in claim)

    async def test_pops_at_once_never_share_a_message(self, inbox: Inbox) -> None:
        await inbox.post(*(str(n) for n in range(100)))
        pops = await asyncio.gather(*(inbox.pop(7) for _ in range(16)))
        taken = [message.id for popped in pops for message in popped]
        assert len(taken) == len(set(taken)) == 100
        assert await inbox.all() == []

    async def test_claiming_popping_and_deleting_at_once_give_each_message_one_end(
        self, inbox: Inbox
    ) -> None:
        ids = await inbox.post(*(str(n) for n in range(60)))
        claims, pops, deletions = await asyncio.gather(
            asyncio.gather(*(inbox.claim(n, limit=4, ttl=HOUR) for n in range(5))),
            asyncio.gather(*(inbox.pop(4) for _ in range(5))),
            asyncio.gather(*(inbox.delete(message_id) for message_id in ids)),
        )
        claimed = {m.id for claim in claims for m in claim}
        popped = {m.id for pop in pops for m in pop}
        deleted = {
            message_id
            for message_id, outcome in zip(ids, deletions, strict=True)
            if outcome is DeleteOutcome.DELETED
        }
        assert len(claimed) + len(popped) + len(deleted) == 60
        assert claimed | popped | deleted == set(ids)
        assert {m.id for m in await inbox.all()} == claimed

    async def test_one_of_many_deletions_at_once_deletes(self, inbox: Inbox) -> None:
        [message_id] = await inbox.post("contested")
        outcomes = await asyncio.gather(*(inbox.delete(message_id) for _ in range(10)))
        assert Counter(outcomes) == {DeleteOutcome.DELETED: 1, DeleteOutcome.MISSING: 9}

    async def test_one_of_many_creations_at_once_creates(self, inbox: Inbox) -> None:
        create = inbox.store.queues.create
        created = await asyncio.gather(
            *(create(inbox.ref, {"by": n}, now=inbox.now) for n in range(10))
        )
        queue = await inbox.store.queues.get(inbox.ref)
        assert queue is not None
        assert sum(created) == 1
        assert queue.metadata == {"by": created.index(True)}

    async def test_releases_and_renewals_at_once_end_in_one_of_both(self, inbox: Inbox) -> None:
        await inbox.post("a", "b", "c")
        await inbox.claim(1)
        ends = await asyncio.gather(
            *(inbox.release(1) if n % 2 else inbox.renew(1, ttl=HOUR) for n in range(10))
        )
        assert sum(end for n, end in enumerate(ends) if n % 2) == 3
        assert await inbox.held(1) is None
        assert await inbox.listed() == ["a", "b", "c"]

    async def test_a_batch_is_seen_whole_or_not_at_all(self, inbox: Inbox) -> None:
        done = asyncio.Event()
        sizes: list[Counter[str]] = []

        async def watch() -> None:
            while not done.is_set():
                sizes.append(Counter(await inbox.listed()))
                await asyncio.sleep(0)

        async def post_all() -> None:
            await asyncio.gather(*(inbox.post(*[f"batch {n}"] * 5) for n in range(40)))
            done.set()

        await asyncio.gather(watch(), post_all())
        sizes.append(Counter(await inbox.listed()))
        assert all(count == 5 for seen in sizes for count in seen.values())
        assert len(sizes[-1]) == 40

    async def test_a_batch_stands_together_in_the_order_posted(self, inbox: Inbox) -> None:
        await asyncio.gather(
            *(inbox.post(*(f"{batch}:{n}" for n in range(4))) for batch in range(25))
        )
        listed = await inbox.listed()
        for start in range(0, 100, 4):
            batch = listed[start].split(":")[0]
            assert listed[start : start + 4] == [f"{batch}:{n}" for n in range(4)]

    async def test_list_order_and_first_claim_order_follow_acknowledgements(
        self, inbox: Inbox
    ) -> None:
        acknowledged: list[tuple[int, str]] = []

        async def producer(name: int) -> None:
            for number in range(15):
                begun = len(acknowledged)
                await inbox.post(f"{name}:{number}")
                acknowledged.append((begun, f"{name}:{number}"))
                await asyncio.sleep(0)

        await asyncio.gather(*(producer(name) for name in range(8)))
        listed = await inbox.listed()
        place = {body: index for index, body in enumerate(listed)}
        assert len(place) == 120
        for ends_before, (_, later) in self._pairs(acknowledged):
            assert place[ends_before] < place[later]
        claimed: list[str] = []
        number = 0
        while batch := await inbox.claim(number, limit=7):
            claimed += bodies(batch)
            number += 1
        assert claimed == listed

    def _pairs(self, acknowledged: list[tuple[int, str]]) -> list[tuple[str, tuple[int, str]]]:
        """Posts that were acknowledged before another began, with that other."""
        return [
            (acknowledged[index][1], later) for later in acknowledged for index in range(later[0])
        ]

    async def test_a_walk_beside_writers_sees_each_message_once_and_in_order(
        self, inbox: Inbox
    ) -> None:
        await inbox.post(*(f"before {n}" for n in range(50)))
        writing = True
        seen: list[str] = []

        async def write(name: int) -> None:
            for number in range(20):
                await inbox.post(f"{name}:{number} a", f"{name}:{number} b")
                await asyncio.sleep(0)

        async def churn() -> None:
            """Messages that come and go around the walker."""
            while writing:
                [passing] = await inbox.post("passing", poster=b"churn")
                await inbox.delete(passing)
                await asyncio.sleep(0)

        async def walk() -> None:
            marker = BEFORE_ALL
            while True:
                was_writing = writing
                page = await inbox.page(after=marker, limit=7, hide_poster=b"churn")
                seen.extend(bodies(page.messages))
                marker = page.marker
                if not page.messages and not was_writing:
                    return
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as everyone:
            walker = everyone.create_task(walk())
            everyone.create_task(churn())
            async with asyncio.TaskGroup() as writers:
                for name in range(4):
                    writers.create_task(write(name))
            writing = False
        assert walker.done()
        assert seen == await inbox.listed()
        assert len(seen) == 50 + 160

    async def test_messages_that_stay_ready_are_seen_once_while_others_are_taken(
        self, inbox: Inbox
    ) -> None:
        ids = await inbox.post(*(str(n) for n in range(120)))
        staying = {str(n) for n in range(120) if n % 3}
        seen: list[str] = []

        async def take_every_third() -> None:
            for message_id in ids[::3]:
                await inbox.delete(message_id)
                await asyncio.sleep(0)

        async def walk() -> None:
            page = await inbox.page(limit=5)
            while page.messages:
                seen.extend(bodies(page.messages))
                await asyncio.sleep(0)
                page = await inbox.page(limit=5, after=page.marker)

        await asyncio.gather(take_every_third(), walk())
        counted = Counter(seen)
        assert all(counted[body] == 1 for body in staying)
        assert all(count == 1 for count in counted.values())

    async def test_purging_beside_posts_leaves_only_whole_batches_and_right_counts(
        self, inbox: Inbox
    ) -> None:
        async def post_some(name: int) -> None:
            for number in range(10):
                await inbox.post(*[f"{name}:{number}"] * 3)
                await asyncio.sleep(0)

        async def purge_some() -> None:
            for _ in range(10):
                await inbox.purge()
                await asyncio.sleep(0)

        await asyncio.gather(*(post_some(n) for n in range(4)), purge_some())
        await sweep_all(inbox.store, inbox.clock)
        left = Counter(await inbox.listed())
        assert all(count == 3 for count in left.values())
        assert await inbox.counts() == (left.total(), 0, 0)
        await inbox.purge()
        assert await inbox.stats() == EMPTY_STATS

    async def test_deleting_the_queue_beside_posts_loses_no_later_post(self, inbox: Inbox) -> None:
        async def delete_some() -> None:
            for _ in range(10):
                await inbox.drop()
                await asyncio.sleep(0)

        posts = (inbox.post(f"{n}", f"{n}") for n in range(40))
        await asyncio.gather(*posts, delete_some())
        [last] = await inbox.post("last")
        await sweep_all(inbox.store, inbox.clock)
        left = Counter(await inbox.listed())
        assert left.pop("last") == 1
        assert all(count == 2 for count in left.values())
        assert bodies(await inbox.get(last)) == ["last"]
        assert await inbox.counts() == (left.total() + 1, 0, 0)

    async def test_workers_lose_nothing_share_nothing_and_explain_every_duplicate(
        self, inbox: Inbox
    ) -> None:
        """I1, I2, I3, I6 and I7 over a history of claims, renewals, releases and crashes."""
        day = WorkingDay(inbox)
        await day.run()
        day.check()
        assert await inbox.stats() == EMPTY_STATS


class WorkingDay:
    """Producers, workers and a clock, and a record of what they were told."""

    MESSAGES = 120
    WORKERS = 6
    TTL = Duration(10_000 * HOUR)
    """Workers who find nothing move the clock too: on a slow disk by many hours."""
    LIMIT = 120.0
    """Real seconds for the whole day."""

    def __init__(self, inbox: Inbox) -> None:
        self.inbox = inbox
        self.dice = random.Random(20260101)
        self.posted: dict[str, str] = {}
        self.deleted: set[str] = set()
        self.live: dict[str, tuple[int, int]] = {}
        """Message id to the claim that should hold it and the moment that claim ends."""
        self.handed_out: Counter[str] = Counter()
        self.explained: Counter[str] = Counter()
        """Ends of claims without a delete: each allows one more delivery."""
        self.wrong: list[str] = []
        self.claims = 0

    async def run(self) -> None:
        async with asyncio.timeout(self.LIMIT), asyncio.TaskGroup() as people:
            people.create_task(self._produce())
            for _ in range(self.WORKERS):
                people.create_task(self._work())

    async def _produce(self) -> None:
        for number in range(self.MESSAGES // 4):
            letters = [f"{number}:{letter}" for letter in "abcd"]
            ids = await self.inbox.post(*letters, ttl=self.TTL)
            for message_id, body in zip(ids, letters, strict=True):
                self.posted[message_id] = body
            await asyncio.sleep(0)

    async def _work(self) -> None:
        while len(self.deleted) < self.MESSAGES:
            self.claims += 1
            claim = self.claims
            for message in await self.inbox.claim(claim, limit=5, ttl=MINUTE, grace=NOTHING):
                self._received(claim, message)
            match self.dice.choice(["finish", "finish", "renew", "release", "crash"]):
                case "finish":
                    await self._finish(claim)
                case "renew":
                    await self._renew(claim)
                    await self._finish(claim)
                case "release":
                    self._over(claim)
                    await self.inbox.release(claim)
                case "crash":
                    self._tick()
            await asyncio.sleep(0)

    def _received(self, claim: int, message: Message) -> None:
        message_id, [body], count = message.id, bodies([message]), message.claim_count
        holder = self.live.get(message_id)
        if holder is not None and message.available_at - MINUTE < holder[1]:
            self.wrong.append(f"{body} was handed to {claim} while {holder[0]} held it")
        if holder is not None:
            self.explained[message_id] += 1
        if message_id in self.deleted:
            self.wrong.append(f"{body} was handed out after its delete")
        if self.posted.get(message_id, body) != body:
            self.wrong.append(f"{message_id} came back as {body}")
        self.handed_out[message_id] += 1
        if count != self.handed_out[message_id]:
            self.wrong.append(f"{body}: count {count}, seen {self.handed_out[message_id]}")
        self.live[message_id] = (claim, message.available_at)

    def _held(self, claim: int) -> list[str]:
        return [message_id for message_id, (holder, _) in self.live.items() if holder == claim]

    def _over(self, claim: int) -> None:
        """The claim is being given up: from now on another delivery is explained."""
        for message_id in self._held(claim):
            self.explained[message_id] += 1
            del self.live[message_id]

    async def _renew(self, claim: int) -> None:
        await self.inbox.renew(claim, ttl=MINUTE, grace=NOTHING)
        held = await self.inbox.held(claim)
        for message in held.messages if held is not None else []:
            self.live[message.id] = (claim, message.available_at)

    async def _finish(self, claim: int) -> None:
        for message_id in self._held(claim):
            outcome = await self.inbox.delete(message_id, claim=claim)
            if outcome is DeleteOutcome.DELETED:
                self.deleted.add(message_id)
                self.live.pop(message_id, None)

    def _tick(self) -> None:
        self.inbox.clock.advance(seconds=self.dice.choice([1, 20, 61]))

    def check(self) -> None:
        assert self.wrong == []
        assert self.deleted == set(self.posted)
        for message_id, count in self.handed_out.items():
            assert count <= 1 + self.explained[message_id], self.posted[message_id]
