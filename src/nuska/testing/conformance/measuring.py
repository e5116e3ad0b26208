"""How much a queue holds: what quotas go by, so it has to be exact at rest."""

from nuska.domain.claims import DeadLetterRule
from nuska.domain.positions import BEFORE_ALL
from nuska.domain.queues import Measure
from nuska.testing.conformance.inbox import (
    HOUR,
    MINUTE,
    PLENTY,
    Conformance,
    Inbox,
    sweep_all,
    text,
)


async def measured(inbox: Inbox, *, limit: int = PLENTY) -> tuple[int, int]:
    """Messages and bytes of the whole queue, stretch by stretch."""
    messages, size, after = 0, 0, BEFORE_ALL
    while True:
        part = await inbox.store.messages.measure(
            inbox.ref, after=after, limit=limit, now=inbox.now
        )
        messages, size = messages + part.messages, size + part.bytes
        if part.marker is None:
            return messages, size
        assert part.marker > after
        after = part.marker


async def claims_of(inbox: Inbox) -> int:
    return await inbox.store.claims.count(inbox.ref, now=inbox.now)


class MeasuringConformance(Conformance):
    async def test_a_missing_and_an_empty_queue_hold_nothing(self, inbox: Inbox) -> None:
        nothing = Measure(messages=0, bytes=0, marker=None)

        async def all_of_it() -> Measure:
            return await inbox.store.messages.measure(
                inbox.ref, after=BEFORE_ALL, limit=PLENTY, now=inbox.now
            )

        assert await all_of_it() == nothing
        await inbox.store.queues.create(inbox.ref, {}, now=inbox.now)
        assert await all_of_it() == nothing
        assert await claims_of(inbox) == 0

    async def test_bodies_and_attributes_are_measured_in_bytes(self, inbox: Inbox) -> None:
        attributes = b'{"colour": "gr\xc3\xbcn"}'
        await inbox.add("grün", attributes=attributes)
        await inbox.post("x" * 5000)
        held = len(text("grün")) + len(attributes) + len(text("x" * 5000))
        assert await measured(inbox) == (2, held)

    async def test_claimed_and_delayed_messages_are_held_too(self, inbox: Inbox) -> None:
        await inbox.post("claimed", "ready")
        await inbox.claim(1, limit=1)
        await inbox.post("delayed", delay=HOUR)
        held = sum(len(text(body)) for body in ("claimed", "ready", "delayed"))
        assert await measured(inbox) == (3, held)

    async def test_a_walk_in_short_stretches_measures_everything_once(self, inbox: Inbox) -> None:
        bodies = ["x" * size for size in range(1, 12)]
        await inbox.post(*bodies)
        whole = (len(bodies), sum(len(text(body)) for body in bodies))
        for limit in (1, 2, 5, 11, 12):
            assert await measured(inbox, limit=limit) == whole

    async def test_what_has_ended_is_not_held_before_and_after_a_sweep(self, inbox: Inbox) -> None:
        await inbox.post("gone", "gone too", ttl=MINUTE)
        await inbox.post("kept")
        inbox.clock.advance(seconds=60)
        kept = (1, len(text("kept")))
        assert await measured(inbox, limit=1) == kept
        await sweep_all(inbox.store, inbox.clock)
        assert await measured(inbox) == kept

    async def test_deleting_popping_and_purging_give_room(self, inbox: Inbox) -> None:
        ids = await inbox.post("a", "bb", "ccc", "dddd")
        await inbox.delete(ids[0])
        assert await measured(inbox) == (3, sum(len(text(b)) for b in ("bb", "ccc", "dddd")))
        await inbox.pop(1)
        assert await measured(inbox) == (2, sum(len(text(b)) for b in ("ccc", "dddd")))
        await inbox.store.queues.purge(inbox.ref, now=inbox.now)
        assert await measured(inbox) == (0, 0)
        await inbox.post("e")
        await inbox.store.queues.delete(inbox.ref, now=inbox.now)
        assert await measured(inbox) == (0, 0)

    async def test_a_dead_letter_is_held_where_it_lies(self, inbox: Inbox) -> None:
        graves = inbox.beside("graves")
        rule = DeadLetterRule(queue=graves.ref, max_claims=1)
        await inbox.post("tiresome")
        assert await inbox.claim(1, dead_letters=rule)
        await inbox.release(1)
        assert not await inbox.claim(2, dead_letters=rule)
        await sweep_all(inbox.store, inbox.clock)
        assert await measured(inbox) == (0, 0)
        messages, size = await measured(graves)
        assert messages == 1
        assert size >= len(text("tiresome"))

    async def test_another_projects_queue_of_the_name_is_not_measured(self, inbox: Inbox) -> None:
        await inbox.beside(project="globex").post("theirs")
        assert await measured(inbox) == (0, 0)

    async def test_a_claim_counts_while_it_is_live_and_holds_something(self, inbox: Inbox) -> None:
        ids = await inbox.post("a", "b", "c", "d")
        await inbox.claim(1, limit=2)
        await inbox.claim(2, limit=1)
        await inbox.claim(3, limit=1, ttl=HOUR)
        assert await claims_of(inbox) == 3
        await inbox.delete(ids[0], claim=1)
        assert await claims_of(inbox) == 3
        await inbox.delete(ids[1], claim=1)
        assert await claims_of(inbox) == 2
        await inbox.release(2)
        assert await claims_of(inbox) == 1
        await inbox.claim(4, limit=1)
        assert await claims_of(inbox) == 2
        inbox.clock.advance(seconds=60)
        assert await claims_of(inbox) == 1

    async def test_more_claims_than_are_counted_at_once_are_all_counted(self, inbox: Inbox) -> None:
        count = 230
        await inbox.post(*(str(number) for number in range(count)))
        for number in range(count):
            assert await inbox.claim(number + 1, limit=1)
        assert await claims_of(inbox) == count
        assert await measured(inbox, limit=100) == (count, await _size(inbox))


async def _size(inbox: Inbox) -> int:
    return sum(len(message.body) for message in await inbox.all())
