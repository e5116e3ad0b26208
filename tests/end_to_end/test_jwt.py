"""The real server with an issuer's tokens: what lasts goes on while its token is good."""

import asyncio
import http.client
import time
import uuid
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from nuska.testing.event_source import EventSource
from nuska.testing.issuer import Issuer, publishing
from nuska.testing.server_process import ServerProcess
from nuska.testing.websocket_client import talking

pytestmark = pytest.mark.slow
SOON = 60.0
"""Seconds: an issuer is asked for new keys every ten at most."""


def status(server: ServerProcess, token: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SOON)
    try:
        headers = {"Client-ID": str(uuid.uuid4()), "Authorization": f"Bearer {token}"}
        connection.request("GET", "/v2/queues", headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


async def until(server: ServerProcess, token: str, wanted: int) -> None:
    async with asyncio.timeout(SOON):
        while await asyncio.to_thread(status, server, token) != wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.3)


async def test_new_keys_end_nothing_and_a_key_taken_back_ends_what_it_has_signed(
    tmp_path: Path,
) -> None:
    async with publishing(Issuer()) as issuer:

        def claims(user: str) -> dict[str, object]:
            return {
                "iss": issuer.url,
                "aud": "nuska",
                "sub": user,
                "exp": int(time.time()) + 600,
                "project_id": "shop",
                "roles": ["member"],
            }

        environment = {
            "NUSKA_JWT_ISSUER": issuer.url,
            "NUSKA_JWT_AUDIENCE": "nuska",
            "NUSKA_TOKENS_KEPT": "2",
            "NUSKA_STREAM_HEARTBEAT": "1",
        }
        token = issuer.token(claims("ann"))
        headers = {"Authorization": f"Bearer {token}"}
        stream = "/v2/queues/jobs/messages/stream"
        with ServerProcess(tmp_path, "--auth", "jwt", environment=environment) as server:
            url = server.url.replace("http", "ws", 1) + "/v2/websocket"
            async with (
                talking(url, project="shop") as talk,
                EventSource(server.port, stream, headers=headers) as source,
            ):
                shown = {"X-Auth-Token": token}
                assert (await talk.ask("authenticate", shown)).status == 200
                made = await talk.ask("subscription_create", queue_name="jobs")
                assert made.status == 201
                await source.begun()
                for number in range(20):
                    other = issuer.token(claims(f"user {number}"))
                    assert await asyncio.to_thread(status, server, other) == 200
                second = issuer.new_rsa("rsa-2")
                await until(server, issuer.token(claims("bob"), second), 200)
                fetched = issuer.fetched
                assert fetched >= 2
                await asyncio.sleep(5)
                posted = await talk.ask("message_post", queue_name="jobs", messages=[{"body": 1}])
                assert posted.status == 201
                assert (await talk.push())["body"] == 1
                assert await source.bodies(1) == [1]
                del issuer.published[0]
                third = issuer.new_rsa("rsa-3")
                await until(server, issuer.token(claims("eve"), third), 200)
                with pytest.raises(ConnectionClosed) as closed:
                    await talk.next()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 4003
                notice = (await source.rest())[-1]
                assert (notice.type, notice.json["reason"]) == ("notice", "expired")
            assert await asyncio.to_thread(status, server, token) == 401
