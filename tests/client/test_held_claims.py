"""A claim held by a block: renewed behind it, given back after it, lost before its end."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from nuska.client import ClaimLost, Client, ConnectionBroken
from nuska.testing.timing import ManualTiming

TTL = 60
A_RENEWAL = TTL / 3


@dataclass
class ClaimServer:
    """Has one claim of two messages to give, and notes what happens to it."""

    waits: asyncio.Condition = field(default_factory=asyncio.Condition)
    events: list[str] = field(default_factory=list)
    alive: bool = True
    reachable: bool = True
    messages: tuple[str, ...] = ("m1", "m2")

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if not self.reachable:
            await self._note("unreachable")
            request.transport.abort()
            return web.Response()
        match request.method, request.path.rpartition("/v2/queues/jobs/")[2].split("/"):
            case "POST", ["claims"]:
                return self._claim()
            case "PATCH", ["claims", "c1"]:
                await self._note("renewed" if self.alive else "too late")
                return web.Response(status=204) if self.alive else self._refuse(404, "Not found")
            case "DELETE", ["claims", "c1"]:
                await self._note("released")
                return web.Response(status=204)
            case "DELETE", ["messages", message_id]:
                assert request.query["claim_id"] == "c1"
                if not self.alive:
                    return self._refuse(400, "Unable to delete")
                await self._note(f"deleted {message_id}")
                return web.Response(status=204)
            case "DELETE", ["messages"]:
                await self._note(f"deleted {request.query['ids']} of {request.query['claim_ids']}")
                return web.Response(status=204)
        raise AssertionError(request.path)

    async def happens(self, event: str, times: int = 1) -> None:
        async with self.waits:
            await self.waits.wait_for(lambda: self.events.count(event) >= times)

    async def _note(self, event: str) -> None:
        async with self.waits:
            self.events.append(event)
            self.waits.notify_all()

    def _claim(self) -> web.Response:
        if not self.messages:
            return web.Response(status=204)
        documents = [
            {
                "id": name,
                "href": f"/v2/queues/jobs/messages/{name}?claim_id=c1",
                "ttl": 300,
                "age": 1,
                "body": name,
            }
            for name in self.messages
        ]
        return web.json_response(
            {"messages": documents},
            status=201,
            headers={"Location": "/v2/queues/jobs/claims/c1"},
        )

    @staticmethod
    def _refuse(status: int, title: str) -> web.Response:
        return web.json_response({"title": title, "description": "It is over."}, status=status)


@pytest.fixture
async def claims(server) -> ClaimServer:
    claims = ClaimServer()
    server.answers(claims.answer)
    return claims


@pytest.fixture
def time() -> ManualTiming:
    return ManualTiming()


@pytest.fixture
async def queue(server, time):
    async with Client(server.url, project="shop", timing=time.timing) as client:
        yield client.queue("jobs")


async def pass_renewal(time: ManualTiming) -> None:
    await time.someone_sleeps()
    await time.advance(A_RENEWAL)


@contextmanager
def passing(time: ManualTiming) -> Iterator[None]:
    """Time goes by, half a second whenever somebody waits for it."""

    async def pass_on() -> None:
        while True:
            await time.someone_sleeps()
            await time.advance(0.5)

    clockwork = asyncio.create_task(pass_on())
    try:
        yield
    finally:
        clockwork.cancel()


async def test_a_claim_is_renewed_for_as_long_as_its_block_runs(queue, claims, time):
    async with queue.claim(limit=2, ttl=TTL):
        for times in range(1, 11):
            await pass_renewal(time)
            await claims.happens("renewed", times)
    assert time.now > TTL * 3
    assert claims.events.count("renewed") == 10


async def test_what_was_not_deleted_is_free_after_the_block(queue, claims):
    async with queue.claim(limit=2, ttl=TTL) as claim:
        first, second = claim
        assert (first.body, second.body) == ("m1", "m2")
        await first.delete()
        assert len(claim) == 1
    assert claims.events == ["deleted m1", "released"]


async def test_a_claim_of_which_all_was_deleted_needs_no_release(queue, claims):
    async with queue.claim(limit=2, ttl=TTL) as claim:
        for message in claim:
            await message.delete()
    assert claims.events == ["deleted m1", "deleted m2"]


async def test_an_error_in_the_block_releases_the_claim_and_goes_on_its_way(queue, claims):
    with pytest.raises(ZeroDivisionError):
        async with queue.claim(limit=2, ttl=TTL):
            raise ZeroDivisionError
    assert claims.events == ["released"]


async def test_a_cancelled_block_releases_the_claim(queue, claims):
    entered = asyncio.Event()

    async def hold():
        async with queue.claim(limit=2, ttl=TTL):
            entered.set()
            await asyncio.Event().wait()

    holder = asyncio.create_task(hold())
    await entered.wait()
    holder.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holder
    assert claims.events == ["released"]


async def test_a_claim_of_nothing_is_false_and_needs_nothing(queue, claims):
    claims.messages = ()
    async with queue.claim(limit=2, ttl=TTL) as claim:
        assert not claim
        assert claim.id is None
    assert claims.events == []


async def test_all_messages_can_be_deleted_at_once(queue, claims):
    async with queue.claim(limit=2, ttl=TTL) as claim:
        await claim.delete_all()
    assert claims.events == ["deleted m1,m2 of c1"]


async def test_a_claim_can_be_kept_beyond_its_block(queue, claims):
    async with queue.claim(limit=2, ttl=TTL) as claim:
        claim.keep()
    assert claims.events == []


async def test_a_lost_claim_stops_the_work(queue, claims, time):
    claim = queue.claim(limit=2, ttl=TTL)

    async def work():
        async with claim:
            claims.alive = False
            await asyncio.gather(pass_renewal(time), asyncio.Event().wait())

    with pytest.raises(ClaimLost, match="c1"):
        await asyncio.wait_for(work(), 20)
    assert claim.lost
    assert claims.events == ["too late"]
    assert asyncio.current_task().cancelling() == 0


async def test_a_server_out_of_reach_is_asked_again_until_the_claim_has_run_out(
    queue, claims, time
):
    async def work():
        async with queue.claim(limit=2, ttl=TTL):
            claims.reachable = False
            await asyncio.Event().wait()

    with passing(time), pytest.raises(ClaimLost):
        await asyncio.wait_for(work(), 20)
    assert claims.events.count("unreachable") > 5
    assert TTL <= time.now < TTL + A_RENEWAL


async def test_a_renewal_that_fails_for_a_moment_loses_nothing(queue, claims, time):
    async with queue.claim(limit=2, ttl=TTL) as claim:
        with passing(time):
            claims.reachable = False
            await claims.happens("unreachable", 6)  # every attempt of one renewal, and one more
            claims.reachable = True
            await claims.happens("renewed")
        for message in claim:
            await message.delete()
    assert claims.events[-2:] == ["deleted m1", "deleted m2"]


async def test_a_delete_after_the_claim_has_ended_says_that_it_is_lost(queue, claims):
    async with queue.claim(limit=2, ttl=TTL) as claim:
        claims.alive = False
        with pytest.raises(ClaimLost):
            await next(iter(claim)).delete()


async def test_somebody_elses_cancellation_stays_a_cancellation(queue, claims, time):
    entered = asyncio.Event()

    async def hold():
        async with queue.claim(limit=2, ttl=TTL):
            claims.alive = False
            entered.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                asyncio.current_task().cancel()  # a second reason, before the block is left
                raise

    holder = asyncio.create_task(hold())
    await entered.wait()
    await pass_renewal(time)
    with pytest.raises(asyncio.CancelledError):
        await holder


async def test_a_release_that_fails_does_not_hide_the_error_of_the_block(queue, claims, time):
    async def work():
        async with queue.claim(limit=2, ttl=TTL):
            claims.reachable = False
            raise ZeroDivisionError

    with passing(time), pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(work(), 20)


async def test_a_claim_that_breaks_off_is_not_entered(queue, claims):
    claims.reachable = False
    with pytest.raises(ConnectionBroken):
        async with queue.claim():
            raise AssertionError("the block must not run")
