"""WebSockets on several nodes: pushed from any of them, resumed on any other."""

import asyncio
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from nuska.testing.server_process import ServerProcess
from nuska.testing.websocket_client import talking

WITHIN = 20.0


def ws(server: ServerProcess) -> str:
    return server.url.replace("http", "ws", 1) + "/v2/websocket"


async def test_a_client_is_told_by_any_node_and_resumes_on_another(
    tmp_path: Path, url: str, project: str
) -> None:
    with (
        ServerProcess(tmp_path / "one", store=url) as one,
        ServerProcess(tmp_path / "two", store=url) as two,
    ):
        async with talking(ws(two), project=project) as poster:

            async def post(*bodies: object) -> None:
                messages = [{"body": body} for body in bodies]
                posted = await poster.ask("message_post", queue_name="jobs", messages=messages)
                assert posted.status == 201

            async with talking(ws(one), project=project) as talk:
                options = {"detailed": True}
                await talk.ask("subscription_create", queue_name="jobs", options=options)
                await post(0, 1, 2)
                pushed = [await talk.push() for _ in range(3)]
                assert [found["body"] for found in pushed] == [0, 1, 2]
                one.kill()
                with pytest.raises(ConnectionClosed):
                    await talk.next()
            await post(3, 4)
            async with talking(ws(two), project=project, binary=True) as talk:
                options = {"detailed": True, "since": pushed[-1]["marker"]}
                await talk.ask("subscription_create", queue_name="jobs", options=options)
                await post(5)
                bodies = [(await talk.push())["body"] for _ in range(3)]
                assert bodies == [3, 4, 5]


async def test_workers_of_one_server_push_what_any_of_them_takes(
    tmp_path: Path, url: str, project: str
) -> None:
    with ServerProcess(tmp_path, "--workers", "2", store=url) as server:
        async with talking(ws(server), project=project) as poster:
            talks = [talking(ws(server), project=project) for _ in range(6)]
            opened = [await talk.__aenter__() for talk in talks]
            try:
                for talk in opened:
                    made = await talk.ask("subscription_create", queue_name="jobs")
                    assert made.status == 201
                await poster.ask("message_post", queue_name="jobs", messages=[{"body": 1}])
                async with asyncio.timeout(WITHIN):
                    assert [(await talk.push())["body"] for talk in opened] == [1] * 6
            finally:
                for talk in talks:
                    await talk.__aexit__(None, None, None)
