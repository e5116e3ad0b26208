"""Quotas on WebSockets: the limits of HTTP, and that of connections."""

import asyncio
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from nuska.core.sharing import Narrowing, ShareTerms, SharingRules
from nuska.domain.messages import QueueRef
from nuska.domain.moments import after, seconds
from nuska.domain.queues import Queue
from nuska.domain.quotas import Override, Quota
from nuska.domain.signing import Signer
from nuska.interfaces.identity import Caller, Verified
from nuska.interfaces.storage import QueueStore
from nuska.testing.clock import ManualClock
from nuska.testing.tokens import Tokens
from nuska.testing.websocket_client import CLIENT, PROJECT, Talk, talking


async def test_who_is_too_fast_is_told_so_and_by_which_limit(
    serve: Any, clock: ManualClock
) -> None:
    served = await serve(core={"quota": Quota(requests_per_second=2)})
    async with talking(served.ws) as talk, talking(served.ws, project="rival") as rival:
        await talk.ask("authenticate")
        for _ in range(2):
            assert (await talk.ask("queue_list")).status == 200
        refused = await talk.ask("queue_list")
        assert refused.status == 503
        assert "requests_per_second is limited to 2" in refused.body["error"]
        assert refused.body["retry_after"] == 1
        assert (await rival.ask("queue_list")).status == 200
        clock.advance(seconds=1)
        assert (await talk.ask("queue_list")).status == 200


@pytest.mark.parametrize(
    "document",
    [
        "not a document",
        {"action": "queue_lisst"},
        {"action": "message_list", "headers": {}, "body": {}},
        {"action": "queue_get", "headers": {"Client-ID": CLIENT, "X-Project-ID": PROJECT}},
    ],
    ids=["no document", "no action", "no headers", "no queue"],
)
@pytest.mark.parametrize("authenticates", [True, False])
async def test_what_is_refused_for_its_form_counts_for_who_is_known(
    serve: Any, document: Any, authenticates: bool
) -> None:
    tokens = Tokens({"t": Verified(project=PROJECT)})
    identity = tokens if authenticates else None
    served = await serve(identity=identity, core={"quota": Quota(requests_per_second=3)})
    async with talking(served.ws) as talk, talking(served.ws) as stranger:

        async def ask_badly(by: Talk) -> int:
            if isinstance(document, str):
                await by.connection.send(document)
            else:
                await by.send_document(document)
            return (await by.reply()).status

        assert (await talk.ask("authenticate", {"X-Auth-Token": "t"})).status == 200
        assert (await talk.ask("queue_list")).status == 200
        assert [await ask_badly(talk) for _ in range(4)] == [400, 400, 503, 503]
        assert (await talk.ask("queue_list")).status == 503
        assert (await talk.ask("authenticate", {"X-Auth-Token": "t"})).status == 200
        assert [await ask_badly(stranger) for _ in range(4)] == [400] * 4


async def test_messages_beyond_the_rate_are_refused_whole(serve: Any) -> None:
    served = await serve(core={"quota": Quota(messages_per_second=5)})
    async with talking(served.ws) as talk:

        async def post(count: int) -> int:
            messages = [{"body": number} for number in range(count)]
            answered = await talk.ask("message_post", queue_name="jobs", messages=messages)
            return int(answered.status)

        assert [await post(count) for count in (3, 3, 2, 1)] == [201, 503, 201, 503]
        stats = await talk.ask("queue_get_stats", queue_name="jobs")
        assert stats.body["messages"]["total"] == 5


class SlowAtFirst:
    """Queues of which the first look takes long."""

    def __init__(self, queues: QueueStore) -> None:
        self._queues = queues
        self._looks = 0

    async def get(self, queue: QueueRef) -> Queue | None:
        self._looks += 1
        if self._looks == 1:
            await asyncio.sleep(0.1)
        return await self._queues.get(queue)


@pytest.mark.parametrize("with_ids", [True, False])
async def test_posts_keep_their_order_while_a_quota_looks_at_their_queue(
    serve: Any, with_ids: bool
) -> None:
    served = await serve(core={"quota": Quota(queues=5)})
    served.core.usage._queues = SlowAtFirst(served.core.usage._queues)
    async with talking(served.ws) as talk:
        for number in range(10):
            message = {"queue_name": "jobs", "messages": [{"body": number}]}
            await talk.send("message_post", id=number if with_ids else None, **message)
        assert [(await talk.reply()).status for _ in range(10)] == [201] * 10
        listed = await talk.ask("message_list", queue_name="jobs", echo=True)
    assert [message["body"] for message in listed.body["messages"]] == list(range(10))


async def test_one_project_may_have_more_connections_than_the_others(serve: Any) -> None:
    served = await serve(core={"quota": Quota(connections=1)})
    await served.core.quota_book.put("rival", Override(connections=2))
    async with (
        talking(served.ws, project="rival") as one,
        talking(served.ws, project="rival") as two,
    ):
        for talk in (one, two):
            assert (await talk.ask("queue_list")).status == 200
        async with talking(served.ws) as acme, talking(served.ws) as more:
            assert (await acme.ask("queue_list")).status == 200
            with pytest.raises(ConnectionClosed):
                await more.ask("queue_list")
    assert sum(served.core.quota_book.refused.values()) == 1


@pytest.mark.parametrize("limit", ["requests_per_second", "messages_per_second"])
async def test_a_signed_request_that_is_too_fast_is_no_use_of_its_signature(
    serve: Any, clock: ManualClock, limit: str
) -> None:
    sharing = SharingRules(signer=Signer("a-signing-key-for-uses"))
    served = await serve(core={"quota": Quota(**{limit: 2}), "sharing": sharing})
    terms = ShareTerms(
        paths=("messages",), methods=("POST",), expires_at=after(clock.now(), seconds(60))
    )
    maker = Caller(PROJECT, roles=frozenset({"member"}))
    narrowing = Narrowing(uses=3)
    _, signed = await served.core.sharing.create(maker, "jobs", terms, narrowing)
    shown = {
        "URL-Signature": signed.signature,
        "URL-Expires": signed.expires,
        "URL-Methods": list(signed.methods),
        "URL-Paths": list(signed.paths),
    }
    async with talking(served.ws) as talk:

        async def post() -> int:
            posted = {"queue_name": "jobs", "messages": [{"body": 1}]}
            return (await talk.ask("message_post", shown, **posted)).status

        assert [await post() for _ in range(5)] == [201] * 2 + [503] * 3
        clock.advance(seconds=1)
        assert [await post(), await post()] == [201, 403]


async def test_claims_together_are_no_more_than_a_project_may_have(serve: Any) -> None:
    served = await serve(core={"quota": Quota(claims=5)})
    async with talking(served.ws) as talk:
        for _ in range(3):
            messages = [{"body": number} for number in range(10)]
            await talk.ask("message_post", queue_name="jobs", messages=messages)

        async def claim(count: int) -> tuple[int, list[str]]:
            made = await talk.ask("claim_create", queue_name="jobs", limit=1, claims=count)
            return made.status, [claim["claim_id"] for claim in made.body.get("claims", ())]

        status, held = await claim(20)
        assert (status, len(held)) == (201, 5)
        assert await claim(20) == (403, [])
        assert await claim(1) == (403, [])
        for one in held[:3]:
            await talk.ask("claim_delete", queue_name="jobs", claim_id=one)
        status, more = await claim(3)
        assert (status, len(more)) == (201, 3)
        assert await claim(1) == (403, [])


async def test_room_for_claims_that_found_no_messages_is_room_for_others(serve: Any) -> None:
    served = await serve(core={"quota": Quota(claims=5)})
    async with talking(served.ws) as talk:
        await talk.ask("message_post", queue_name="jobs", messages=[{"body": 1}, {"body": 2}])
        for _ in range(2):
            made = await talk.ask("claim_create", queue_name="jobs", limit=1, claims=5)
            claims = made.body["claims"]
            assert len(claims) in (2, 0)
        messages = [{"body": number} for number in range(5)]
        await talk.ask("message_post", queue_name="jobs", messages=messages)
        made = await talk.ask("claim_create", queue_name="jobs", limit=1, claims=3)
        assert len(made.body["claims"]) == 3
