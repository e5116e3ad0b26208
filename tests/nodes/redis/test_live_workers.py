"""Live listeners of ``nuska serve --workers N``: what one worker takes, all of them tell; and a
worker that ends takes its listeners' connections along, but nothing of what they are owed."""

import asyncio
import os
import re
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from nuska.testing.event_source import EventSource
from nuska.testing.plain_http import PlainClient
from nuska.testing.server_process import ServerProcess
from nuska.testing.websocket_client import CLIENT, Talk, talking

WITHIN = 20.0
MESSAGES = "/v2/queues/news/messages"


@pytest.fixture
def server(tmp_path: Path, url: str) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path, "--workers", "2", store=url) as running:
        yield running


def workers_of(server: ServerProcess) -> list[int]:
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
    return sorted(int(pid) for pid in children.split())


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """What is asked meanwhile is asked of the other worker."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def listening(
    stack: AsyncExitStack, server: ServerProcess, project: str, after: str = "", since: str = ""
) -> tuple[EventSource, Talk]:
    """An event stream, and a subscription of a connection."""
    path = f"{MESSAGES}/stream?project_id={project}"
    headers = {"Last-Event-ID": after} if after else None
    source = EventSource(server.port, path, headers=headers)
    await stack.enter_async_context(source)
    await source.begun()
    talk = await stack.enter_async_context(talking(ws(server), project=project))
    await subscribe(talk, since)
    return source, talk


async def subscribe(talk: Talk, since: str = "") -> None:
    options = {"detailed": True} | ({"since": since} if since else {})
    made = await talk.ask("subscription_create", queue_name="news", options=options)
    assert made.status == 201, made.body


def ws(server: ServerProcess) -> str:
    return server.url.replace("http", "ws", 1) + "/v2/websocket"


async def post(server: ServerProcess, project: str, *bodies: object) -> None:
    async with PlainClient(server.port, project=project, client_id=CLIENT) as client:
        messages = [{"body": body} for body in bodies]
        answer = await client.ask("POST", MESSAGES, {"messages": messages})
        assert answer.status == 201, answer.body


async def replaced(server: ServerProcess, gone: int) -> None:
    async with asyncio.timeout(WITHIN):
        while gone in workers_of(server) or len(workers_of(server)) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_what_one_worker_takes_is_heard_at_the_other(
    server: ServerProcess, project: str
) -> None:
    first, second = workers_of(server)
    async with AsyncExitStack() as stack:
        with stopped(second):
            source, talk = await listening(stack, server, project)
        with stopped(first):
            await post(server, project, 1, 2)
        assert await source.bodies(2) == [1, 2]
        assert [(await talk.push())["body"] for _ in range(2)] == [1, 2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_listeners_of_a_worker_that_ends_go_on_at_another_without_a_gap(
    server: ServerProcess, project: str, number: signal.Signals
) -> None:
    orderly = number == signal.SIGTERM
    first, second = workers_of(server)
    async with AsyncExitStack() as stack:
        with stopped(second):
            source, talk = await listening(stack, server, project)
        await post(server, project, 0, 1)
        assert await source.bodies(2) == [0, 1]
        marker = [await talk.push() for _ in range(2)][-1]["marker"]
        os.kill(first, number)
        assert [event.type for event in await source.rest()] == (["notice"] if orderly else [])
        with pytest.raises(ConnectionClosed) as closed:
            await talk.next()
        if orderly:
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
        await post(server, project, 2)
        await replaced(server, first)
        await post(server, project, 3)
        source, talk = await listening(stack, server, project, source.last_id, marker)
        assert await source.bodies(2) == [2, 3]
        assert [(await talk.push())["body"] for _ in range(2)] == [2, 3]
        await post(server, project, 4)
        assert await source.bodies(1) == [4]
        assert (await talk.push())["body"] == 4


async def test_a_purge_of_subscriptions_at_one_worker_ends_those_of_the_other(
    server: ServerProcess, project: str
) -> None:
    first, second = workers_of(server)
    async with AsyncExitStack() as stack:
        with stopped(second):
            source, talk = await listening(stack, server, project)
        async with PlainClient(server.port, project=project, client_id=CLIENT) as client:
            with stopped(first):
                purge = {"resource_types": ["subscriptions"]}
                answer = await client.ask("POST", "/v2/queues/news/purge", purge)
                assert answer.status == 204
        assert (await talk.push())["Message_Type"] == "SubscriptionEnded"
        await subscribe(talk)
        await post(server, project, "new")
        assert (await talk.push())["body"] == "new"
        assert await source.bodies(1) == ["new"]  # a stream is no subscription


async def test_workers_share_the_port_that_is_for_websockets_alone(
    tmp_path: Path, url: str, project: str
) -> None:
    arguments = ("--workers", "2", "--websocket-listen", "127.0.0.1:0")
    with ServerProcess(tmp_path, *arguments, store=url) as server:
        [own] = re.findall(r"websockets +(ws://\S+)", server.output)
        for gone in workers_of(server):
            async with AsyncExitStack() as stack:
                with stopped(gone):
                    elsewhere = await stack.enter_async_context(talking(own, project=project))
                    await subscribe(elsewhere)
                os.kill(gone, signal.SIGKILL)
                await replaced(server, gone)
                other = await stack.enter_async_context(talking(own, project=project))
                await other.ask("message_post", queue_name="news", messages=[{"body": gone}])
                assert (await elsewhere.push())["body"] == gone
