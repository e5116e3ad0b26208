"""Messages that are pushed to connections as they are posted (contract websocket-v2 §6)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import msgspec
import pytest
from websockets.exceptions import ConnectionClosed

from nuska.core.messages import Draft
from nuska.domain.errors import Unavailable
from nuska.domain.moments import Moment
from nuska.interfaces.identity import Caller
from nuska.testing.clock import ManualClock
from nuska.testing.websocket_client import CLIENT, Talk, talking
from nuska.transport.websocket.session import Session

WITHIN = 20.0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN):
        while not condition():  # noqa: ASYNC110  the server tells nobody of this
            await asyncio.sleep(0.01)


@pytest.fixture(params=[False, True], ids=["JSON", "MessagePack"])
async def talk(served: Any, request: pytest.FixtureRequest) -> AsyncIterator[Talk]:
    async with talking(served.ws, binary=request.param) as talk:
        yield talk


@pytest.fixture
async def other(served: Any) -> AsyncIterator[Talk]:
    async with talking(served.ws) as talk:
        yield talk


async def subscribe(talk: Talk, queue: str = "jobs", **body: Any) -> dict[str, Any]:
    answered = await talk.ask("subscription_create", queue_name=queue, **body)
    assert answered.status == 201, answered.body
    made: dict[str, Any] = answered.body
    return made


async def post(talk: Talk, *bodies: Any, queue: str = "jobs", **more: Any) -> list[str]:
    messages = [{"body": body, "ttl": 300, **more} for body in bodies]
    posted = await talk.ask("message_post", queue_name=queue, messages=messages)
    assert posted.status == 201
    ids: list[str] = posted.body["message_ids"]
    return ids


def push(body: Any, queue: str = "jobs") -> dict[str, Any]:
    return {"ttl": 300, "body": body, "Message_Type": "Notification", "queue_name": queue}


async def quiet(talk: Talk) -> None:
    """Nothing more was pushed: whatever is asked comes next."""
    assert (await talk.ask("queue_list")).status == 200
    assert talk.pushes == []


async def test_what_is_posted_is_pushed_whoever_posts_it(
    served: Any, talk: Talk, other: Talk
) -> None:
    made = await subscribe(talk)
    assert made["message"] == "Subscription jobs created."
    await post(other, {"job": 17}, "ü", 1.5)
    assert [await talk.push() for _ in range(3)] == [push({"job": 17}), push("ü"), push(1.5)]
    await post(talk, "my own")
    assert await talk.push() == push("my own")
    async with aiohttp.ClientSession() as session:
        headers = {"Client-ID": CLIENT, "X-Project-Id": "acme"}
        url = f"{served.http}/v2/queues/jobs/messages"
        sent = {"messages": [{"body": "by HTTP", "ttl": 300}]}
        async with session.post(url, json=sent, headers=headers) as answer:
            assert answer.status == 201
    assert await talk.push() == push("by HTTP")
    await quiet(talk)


async def test_what_another_project_posts_is_not_pushed(served: Any, talk: Talk) -> None:
    await subscribe(talk)
    async with talking(served.ws, project="other") as stranger:
        await post(stranger, 1)
        await quiet(talk)


async def test_a_message_that_a_worker_has_already_taken_is_pushed_too(
    talk: Talk, other: Talk
) -> None:
    await subscribe(talk)
    await post(other, 1)
    await other.ask("message_delete_many", queue_name="jobs", pop=1)
    assert await talk.push() == push(1)


async def test_a_delayed_message_is_pushed_when_it_is_due(
    served: Any, talk: Talk, other: Talk, clock: ManualClock
) -> None:
    await other.ask("queue_create", queue_name="slow", metadata={"_default_message_delay": 60})
    await subscribe(talk, "slow")
    await post(other, "later", queue="slow")
    await post(other, "now", queue="slow", delay=0)
    assert await talk.push() == push("now", "slow")
    clock.advance(seconds=61)
    served.core.live.look()
    assert await talk.push() == push("later", "slow")


async def test_the_second_subscription_of_a_connection_to_a_queue_is_refused(
    talk: Talk, other: Talk
) -> None:
    await subscribe(talk)
    again = await talk.ask("subscription_create", queue_name="jobs")
    assert (again.status, again.body) == (409, "Subscription jobs not created.")
    await subscribe(other)
    await post(talk, 1)
    assert [await talk.push(), await other.push()] == [push(1), push(1)]


async def test_pushes_have_the_encoding_of_the_latest_subscription(talk: Talk, other: Talk) -> None:
    await subscribe(talk)
    talk.binary = not talk.binary
    await subscribe(talk, "more")
    await post(other, 1)
    message = await talk.connection.recv()
    assert isinstance(message, bytes if talk.binary else str)


async def test_os_collect_config_finds_what_it_waits_for(served: Any, other: Talk) -> None:
    """Contract §7: strictly one reply for one request, then one message is waited for."""
    async with talking(served.ws) as talk:
        await talk.send("authenticate", {"X-Auth-Token": "abc"})
        assert (await talk.next())["headers"]["status"] == 200
        await talk.send("queue_create", queue_name="jobs")
        assert (await talk.next())["headers"]["status"] == 201
        await talk.send("subscription_create", queue_name="jobs", ttl=10_000)
        assert (await talk.next())["headers"]["status"] == 201
        await talk.send("message_delete_many", queue_name="jobs", pop=1)
        assert (await talk.next())["body"] == {"messages": []}
        waiting = asyncio.create_task(talk.next())
        await post(other, {"deploy": [1, 2]})
        assert (await waiting)["body"] == {"deploy": [1, 2]}


async def test_replies_that_are_owed_go_before_pushes(talk: Talk) -> None:
    await subscribe(talk)
    for number in range(50):
        await talk.send("message_post", queue_name="jobs", messages=[{"body": number}])
    kinds = ["request" in await talk.next() for _ in range(100)]
    assert sum(kinds) == 50
    first_push = kinds.index(False)
    assert all(kinds[:first_push])
    assert first_push > 0


async def test_pushes_do_not_wait_for_a_request_that_waits(talk: Talk, other: Talk) -> None:
    await subscribe(talk)
    await talk.send("message_list", queue_name="empty", echo=True, wait=20)
    await post(other, 1)
    assert await talk.next() == push(1)
    await post(other, 2, queue="empty")
    assert (await talk.reply()).status == 200


async def test_a_detailed_subscription_names_messages_and_their_places(
    talk: Talk, other: Talk
) -> None:
    made = await subscribe(talk, options={"detailed": True})
    [id_] = await post(other, 1, attributes={"lang": "en"})
    pushed = await talk.push()
    assert pushed.pop("marker") > made["marker"]
    assert pushed == {**push(1), "message_id": id_, "attributes": {"lang": "en"}}


async def test_a_connection_goes_on_where_another_was(served: Any, other: Talk) -> None:
    async with talking(served.ws) as talk:
        made = await subscribe(talk, options={"detailed": True})
        await post(other, *range(5))
        pushed = [await talk.push() for _ in range(3)]
    await post(other, 5, 6)
    for since in (pushed[-1]["marker"], pushed[-1]["message_id"]):
        async with talking(served.ws) as talk:
            await subscribe(talk, options={"since": since})
            assert [(await talk.push())["body"] for _ in range(4)] == [3, 4, 5, 6]
    async with talking(served.ws) as talk:
        await subscribe(talk, options={"since": made["marker"]})
        assert [(await talk.push())["body"] for _ in range(7)] == [0, 1, 2, 3, 4, 5, 6]


async def test_a_marker_that_is_too_old_is_a_gap_that_is_said(served: Any, other: Talk) -> None:
    await post(other, "before anybody listened")
    async with talking(served.ws) as talk:
        await subscribe(talk, options={"since": "1"})
        gap = await talk.push()
        assert (gap["Message_Type"], gap["queue_name"]) == ("Gap", "jobs")
        await post(other, 1)
        assert await talk.push() == push(1)
    async with talking(served.ws) as talk:
        await subscribe(talk)
        await quiet(talk)


async def test_only_what_fits_a_filter_is_pushed(talk: Talk, other: Talk) -> None:
    await subscribe(talk, options={"filter": {"body": {"kind": ["good"]}}})
    await post(other, {"kind": "bad"}, {"kind": "good"}, 1)
    assert await talk.push() == push({"kind": "good"})
    await quiet(talk)


async def test_one_subscription_may_be_to_several_queues(talk: Talk, other: Talk) -> None:
    made = await talk.ask("subscription_create", queue_names=["a", "b"], ttl=100)
    assert made.status == 201
    assert made.body["message"] == "Subscription a, b created."
    assert set(made.body["markers"]) == {"a", "b"}
    await post(other, 1, queue="a")
    assert await talk.push() == push(1, "a")
    await post(other, 2, queue="b")
    assert await talk.push() == push(2, "b")
    id_ = made.body["subscription_id"]
    for queue in ("a", "b"):
        [shown] = (await other.ask("subscription_list", queue_name=queue)).body["subscriptions"]
        assert (shown["id"], shown["source"], shown["ttl"]) == (id_, queue, 100)
    again = {"since": made.body["markers"]}
    await talk.ask("subscription_delete", queue_name="b", subscription_id=id_)
    await post(other, 3, queue="a")
    await quiet(talk)
    await talk.ask("subscription_create", queue_names=["a", "b"], options=again)
    seen = [await talk.push() for _ in range(3)]
    assert sorted(found["body"] for found in seen) == [1, 2, 3]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"queue_names": []},
        {"queue_name": "a", "queue_names": ["b"]},
        {"queue_names": ["a b"]},
        {"queue_names": [f"q{number}" for number in range(101)]},
        {"queue_names": ["a"], "subscriber": "http://example.org/"},
        {"queue_name": "a", "ttl": 59},
        {"queue_name": "a", "ttl": 10**17},
        {"queue_name": "a", "options": {"since": "yesterday"}},
        {"queue_name": "a", "options": {"since": 5}},
        {"queue_names": ["a", "b"], "options": {"since": "5"}},
        {"queue_name": "a", "options": {"filter": []}},
    ],
)
async def test_a_subscription_that_cannot_be_is_refused_and_leaves_nothing(
    served: Any, talk: Talk, body: dict[str, Any]
) -> None:
    assert (await talk.ask("subscription_create", **body)).status == 400
    assert served.core.live.listeners == 0
    assert (await talk.ask("subscription_create", queue_names=["a", "b"])).status == 201


async def test_what_is_published_to_a_topic_is_pushed_apart_from_the_queue_of_its_name(
    served: Any, talk: Talk, other: Talk
) -> None:
    async def publish(body: Any) -> None:
        drafts = [Draft(body=msgspec.json.encode(body))]
        await served.core.topic_messages.post(Caller("acme", client=b"c" * 16), "jobs", drafts)

    options = {"detailed": True}
    made = await talk.ask("subscription_create", topic_name="jobs", options=options)
    assert (made.status, made.body["message"]) == (201, "Subscription jobs created.")
    again = await talk.ask("subscription_create", topic_name="jobs")
    assert again.status == 409
    await subscribe(talk)
    await publish("published")
    pushed = await talk.push()
    assert (pushed["topic_name"], pushed["body"]) == ("jobs", "published")
    assert "queue_name" not in pushed
    await post(other, "posted")
    assert await talk.push() == push("posted")
    await publish("later")
    options["since"] = made.body["marker"]
    await other.ask("subscription_create", topic_name="jobs", options=options)
    assert [(await other.push())["body"] for _ in range(2)] == ["published", "later"]
    for wrong in (
        {"topic_name": "jobs", "queue_name": "jobs"},
        {"topic_name": "jobs", "queue_names": ["jobs"]},
        {"topic_name": "a b"},
        {"topic_name": ""},
        {"topic_name": 5},
        {"topic_name": "jobs", "subscriber": "http://example.org/"},
    ):
        assert (await other.ask("subscription_create", **wrong)).status == 400


async def test_a_connection_has_so_many_subscriptions_and_no_more(serve: Any) -> None:
    served = await serve(bounds={"max_subscriptions_per_connection": 2})
    async with talking(served.ws) as talk:
        await subscribe(talk, "a")
        await subscribe(talk, "b")
        assert (await talk.ask("subscription_create", queue_name="c")).status == 400
        found = (await talk.ask("subscription_list", queue_name="a")).body["subscriptions"]
        id_ = found[0]["id"]
        await talk.ask("subscription_delete", queue_name="a", subscription_id=id_)
        await subscribe(talk, "c")


async def test_subscriptions_of_connections_are_shown_like_others(
    served: Any, talk: Talk, other: Talk
) -> None:
    id_ = (await subscribe(talk, ttl=100))["subscription_id"]
    await subscribe(talk, "more")
    stored = await subscribe(other, subscriber="http://example.org/")
    listed = (await other.ask("subscription_list", queue_name="jobs")).body["subscriptions"]
    assert {found["id"] for found in listed} == {id_, stored["subscription_id"]}
    seen = await other.ask("subscription_get", queue_name="jobs", subscription_id=id_)
    assert seen.status == 200
    assert seen.body["subscriber"].startswith("ws:")
    assert seen.body["confirmed"] is True
    assert (seen.body["ttl"], seen.body["source"]) == (100, "jobs")
    async with talking(served.ws, project="other") as stranger:
        for action in ("subscription_get", "subscription_delete"):
            await stranger.ask(action, queue_name="jobs", subscription_id=id_)
        nothing = await stranger.ask("subscription_list", queue_name="jobs")
        assert nothing.body == {"subscriptions": []}
    await other.ask("subscription_delete", queue_name="jobs", subscription_id=id_)
    await post(other, 1)
    await quiet(talk)
    await subscribe(talk)


async def test_a_subscription_ends_with_its_ttl(serve: Any, clock: ManualClock) -> None:
    served = await serve()
    async with talking(served.ws) as talk, talking(served.ws) as plain:
        made = await subscribe(talk, ttl=60, options={"detailed": True})
        await subscribe(plain, ttl=60)
        clock.advance(seconds=61)
        ended = await talk.push()
        assert ended == {
            "Message_Type": "SubscriptionEnded",
            "subscription_id": made["subscription_id"],
        }
        await post(talk, 1)
        await quiet(plain)
        await subscribe(talk)
        await until(lambda: served.core.live.listeners == 1)


async def test_deadlines_hold_after_the_time_of_the_store_was_not_known(
    serve: Any, clock: ManualClock, later: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = await serve(bounds={"websocket_idle_timeout": 60.0})
    asked = asyncio.Event()

    def nobody_knows() -> Moment:
        asked.set()
        raise Unavailable("The time of the store is not known at the moment.")

    async with talking(served.ws) as talk, talking(served.ws) as idle:
        await subscribe(talk, ttl=60, options={"detailed": True})
        with monkeypatch.context() as patch:
            patch.setattr(clock, "now", nobody_knows)
            async with asyncio.timeout(WITHIN):
                await asked.wait()
        clock.advance(seconds=61)
        assert (await talk.push())["Message_Type"] == "SubscriptionEnded"
        later(61)
        with pytest.raises(ConnectionClosed):
            await idle.push()


async def test_what_goes_wrong_with_one_connection_ends_nobody_elses_deadlines(
    serve: Any, later: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Session) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Session, "tick", fail)
    served = await serve(bounds={"websocket_idle_timeout": 60.0})
    async with talking(served.ws) as talk, talking(served.ws) as idle:
        await subscribe(talk, ttl=60)
        with pytest.raises(ConnectionClosed):
            await talk.push()
        later(61)
        with pytest.raises(ConnectionClosed):
            await idle.push()


async def test_subscriptions_go_with_their_connection(served: Any) -> None:
    async with talking(served.ws) as talk:
        await subscribe(talk)
        await subscribe(talk, "more")
        assert served.core.live.listeners == 2
        talk.connection.transport.abort()
    await until(lambda: served.core.live.listeners == 0)
    async with talking(served.ws) as talk:
        for queue in ("jobs", "more"):
            listed = await talk.ask("subscription_list", queue_name=queue)
            assert listed.body == {"subscriptions": []}


async def test_a_purge_and_an_end_of_the_queue_take_back_what_was_announced(
    talk: Talk, other: Talk
) -> None:
    await subscribe(talk)
    await other.ask("queue_purge", queue_name="jobs", resource_types=["messages"])
    await post(other, 1)
    assert await talk.push() == push(1)
    await other.ask("queue_delete", queue_name="jobs")
    await post(other, 2)
    assert await talk.push() == push(2)
    await other.ask("queue_purge", queue_name="jobs")
    await post(other, 3)
    await quiet(talk)


async def test_many_receivers_get_one_encoding(serve: Any) -> None:
    served = await serve(bounds={"websocket_compression": True})
    kinds = [(False, None), (True, None), (False, "deflate"), (True, "deflate")]
    async with contextlib.AsyncExitStack() as stack:
        talks = [
            await stack.enter_async_context(
                talking(served.ws, binary=binary, compression=compression)
            )
            for binary, compression in kinds * 3
        ]
        for talk in talks:
            await subscribe(talk)
        body = {"text": "ü" * 5000}
        await post(talks[0], body, 2)
        for talk in talks:
            assert [await talk.push(), await talk.push()] == [push(body), push(2)]


async def everything_of(talk: Talk) -> None:
    while True:
        await talk.next()


async def test_a_slow_reader_is_closed_with_a_reason_and_nobody_else_notices(
    serve: Any, later: Any
) -> None:
    served = await serve(bounds={"websocket_slow_timeout": 15.0, "max_outbox": 65_536})
    async with (
        talking(served.ws, max_queue=1) as slow,
        talking(served.ws) as quick,
        talking(served.ws) as poster,
    ):
        for talk in (slow, quick):
            await subscribe(talk)
        slow.connection.transport.pause_reading()
        sessions = [one.session for one in served.sockets.open]
        while not served.server._shared.unread:
            await post(poster, "x" * 200_000)
            await quick.push()
        await until(lambda: len(served.server._shared.unread) == 1)
        later(16)
        await until(lambda: any(session.closed for session in sessions))
        await post(poster, "still here")
        assert await quick.push() == push("still here")
        slow.connection.transport.resume_reading()
        with pytest.raises(ConnectionClosed) as closed:
            await everything_of(slow)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4008
    await until(lambda: served.sockets.counters.closed.get(4008, 0) == 1)


async def test_a_reader_that_catches_up_in_time_gets_everything(serve: Any) -> None:
    served = await serve(bounds={"max_outbox": 65_536})
    async with talking(served.ws, max_queue=1) as slow, talking(served.ws) as poster:
        await subscribe(slow)
        slow.connection.transport.pause_reading()
        for number in range(80):
            await post(poster, f"{number} " + "x" * 200_000)
        [connection] = [one for one in served.sockets.open if one.session.is_subscribed]
        assert connection.transport.get_write_buffer_size() < 2_000_000
        slow.connection.transport.resume_reading()
        seen = [(await slow.push())["body"].partition(" ")[0] for _ in range(80)]
        assert seen == [str(number) for number in range(80)]


async def test_a_storm_of_disconnects_leaves_no_listeners(served: Any) -> None:
    async def come_and_go(number: int) -> None:
        async with talking(served.ws, binary=bool(number % 2)) as talk:
            await talk.send("subscription_create", queue_name=f"q{number % 5}")
            if number % 3:
                await talk.reply()
                await talk.send("message_post", queue_name="q1", messages=[{"body": number}])
            if number % 2:
                talk.connection.transport.abort()

    def theirs() -> set[asyncio.Task[Any]]:
        """Queues are followed on for a while, since many come back."""
        return {task for task in asyncio.all_tasks() if task.get_name() != "a live queue"}

    before = theirs()
    for _ in range(4):
        await asyncio.gather(*(come_and_go(number) for number in range(50)))
    await until(lambda: served.server.open_connections == 0)
    await until(lambda: served.server.running_requests == 0)
    await until(lambda: theirs() <= before)
    assert served.core.live.listeners == 0
    assert served.core.live.followed <= 5
    assert served.core.connected._of == {}


async def test_a_client_that_keeps_losing_its_connection_gets_everything_once(
    served: Any, other: Talk
) -> None:
    """I21, in both encodings and by two queues at once."""
    count, queues = 400, ("a", "b")
    seen: dict[str, list[int]] = {queue: [] for queue in queues}
    markers: dict[str, str] = {}

    async def poster() -> None:
        for number in range(count):
            await post(other, number, queue=queues[number % 2])
            if number % 50 == 0:
                await asyncio.sleep(0.02)

    async def listen_for_a_while(round_: int) -> None:
        async with talking(served.ws, binary=bool(round_ % 2)) as talk:
            options: dict[str, Any] = {"detailed": True}
            if markers:
                options["since"] = markers
            made = await talk.ask("subscription_create", queue_names=list(queues), options=options)
            for queue, marker in made.body["markers"].items():
                markers.setdefault(queue, marker)
            for _ in range(1 + 7 * round_ % 23):
                if sum(map(len, seen.values())) == count:
                    break
                pushed = await talk.push()
                assert pushed["Message_Type"] == "Notification"
                seen[pushed["queue_name"]].append(pushed["body"])
                markers[pushed["queue_name"]] = pushed["marker"]
            if round_ % 3:
                talk.connection.transport.abort()

    await listen_for_nothing(served, queues, markers)
    posting = asyncio.create_task(poster())
    round_ = 0
    while sum(map(len, seen.values())) < count:
        round_ += 1
        await listen_for_a_while(round_)
    await posting
    assert seen == {"a": list(range(0, count, 2)), "b": list(range(1, count, 2))}
    await until(lambda: served.core.live.listeners == 0)


async def listen_for_nothing(served: Any, queues: Any, markers: dict[str, str]) -> None:
    """Find out where the queues begin, and leave."""
    async with talking(served.ws) as talk:
        made = await talk.ask("subscription_create", queue_names=list(queues))
        markers.update(made.body["markers"])
