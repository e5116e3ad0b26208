"""What exceeds a quota on what is stored is refused by HTTP and by WebSocket alike (I10): 403, the
limit named, and nothing stored."""

import json
from typing import Any

import aiohttp
import pytest
from msgspec import Struct

from nuska.domain.quotas import Quota
from nuska.interfaces.identity import Caller
from nuska.testing.websocket_client import CLIENT, PROJECT, talking

HOOK = "https://hooks.example.net/in"
HEADERS = {"Client-ID": CLIENT, "X-Project-ID": PROJECT}
ONE = {"messages": [{"body": "full"}]}


class Case(Struct, frozen=True, kw_only=True):
    """Something that is done once, and is too much when it is done to another queue, or again."""

    limit: dict[str, int]
    """The quota."""
    first: tuple[str, str, Any]
    """By HTTP, below ``/v2``."""
    http: tuple[str, str, Any]
    ws: dict[str, Any]
    """The same as ``http`` in an action."""


CASES = {
    "a queue that is made": Case(
        limit={"queues": 1},
        first=("PUT", "queues/jobs", {}),
        http=("PUT", "queues/more", {}),
        ws={"action": "queue_create", "queue_name": "more"},
    ),
    "a queue that is posted to": Case(
        limit={"queues": 1},
        first=("PUT", "topics/news", {}),
        http=("POST", "queues/more/messages", ONE),
        ws={"action": "message_post", "queue_name": "more", **ONE},
    ),
    "a queue that a connection listens to": Case(
        limit={"queues": 1},
        first=("PUT", "queues/jobs", {}),
        http=("POST", "queues/more/subscriptions", {"subscriber": HOOK}),
        ws={"action": "subscription_create", "queue_name": "more"},
    ),
    "a message": Case(
        limit={"messages": 1},
        first=("POST", "queues/jobs/messages", ONE),
        http=("POST", "queues/jobs/messages", ONE),
        ws={"action": "message_post", "queue_name": "jobs", **ONE},
    ),
    "bytes": Case(
        limit={"bytes": 10},
        first=("POST", "queues/jobs/messages", ONE),
        http=("POST", "queues/jobs/messages", ONE),
        ws={"action": "message_post", "queue_name": "jobs", **ONE},
    ),
    "a subscription": Case(
        limit={"subscriptions": 1},
        first=("POST", "queues/jobs/subscriptions", {"subscriber": HOOK}),
        http=("POST", "queues/jobs/subscriptions", {"subscriber": f"{HOOK}/2"}),
        ws={
            "action": "subscription_create",
            "queue_name": "jobs",
            "subscriber": f"{HOOK}/2",
        },
    ),
    "a claim": Case(
        limit={"claims": 0},
        first=("POST", "queues/jobs/messages", ONE),
        http=("POST", "queues/jobs/claims", {}),
        ws={"action": "claim_create", "queue_name": "jobs"},
    ),
}


async def by_http(served: Any, method: str, path: str, sent: Any) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession(headers=HEADERS) as session,
        session.request(method, f"{served.http}/v2/{path}", json=sent) as answer,
    ):
        text = await answer.text()
        return answer.status, json.loads(text) if text else None


async def by_websocket(served: Any, *, action: str, **body: Any) -> tuple[int, Any]:
    async with talking(served.ws) as talk:
        answered = await talk.ask(action, **body)
        return answered.status, answered.body


async def held(served: Any) -> list[Any]:
    """Everything the project has, as far as it is listed."""
    caller = Caller(PROJECT)
    core = served.core
    stats = (await core.queues.stats(caller, "jobs")).stats
    return [
        [queue.name for queue in await core.queues.page(caller)],
        [queue.name for queue in await core.topics.page(caller)],
        [found.id for found in await core.subscriptions.page(caller, "jobs")],
        (stats.ready, stats.claimed),
    ]


@pytest.mark.parametrize("name", CASES)
async def test_too_much_is_refused_on_both_transports(serve: Any, name: str) -> None:
    case = CASES[name]
    [(what, limit)] = case.limit.items()
    served = await serve(core={"quota": Quota(**case.limit)})
    status, answer = await by_http(served, *case.first)
    assert status in (201, 204), answer
    before = await held(served)
    said = f"{what} is limited to {limit}"
    status, answer = await by_http(served, *case.http)
    assert (status, answer["title"]) == (403, "Quota exceeded")
    assert said in answer["description"]
    status, answer = await by_websocket(served, **case.ws)
    assert status == 403
    assert said in str(answer)
    assert served.core.quota_book.refused == {(what, PROJECT): 2}
    assert await held(served) == before


async def test_what_is_there_can_be_asked_for_again(serve: Any) -> None:
    served = await serve(core={"quota": Quota(queues=1, subscriptions=1)})
    subscription = ("POST", "queues/jobs/subscriptions", {"subscriber": HOOK})
    for _ in range(2):
        assert (await by_http(served, "PUT", "queues/jobs", {}))[0] in (201, 204)
        assert (await by_http(served, *subscription))[0] == 201
        assert (await by_http(served, "POST", "queues/jobs/messages", ONE))[0] == 201
