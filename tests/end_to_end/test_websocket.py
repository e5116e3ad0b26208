"""WebSockets of the real server process: with the client that existing users have, on a port of
their own, and across a restart."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from zaqarclient.transport import errors, get_transport_for, request

from nuska.testing.raw_http import converse
from nuska.testing.server_process import ServerProcess
from nuska.testing.websocket_client import talking

GET = b"GET /v2/queues HTTP/1.1\r\nHost: localhost\r\n\r\n"


def ws(server: ServerProcess) -> str:
    return server.url.replace("http", "ws", 1) + "/"


class Zaqarclient:
    """python-zaqarclient's WebSocket transport, unmodified."""

    def __init__(self, server: ServerProcess, project: str) -> None:
        self._endpoint = ws(server)
        options = {"os_auth_token": "none needed", "os_project_id": project}
        conf = {"auth_opts": {"backend": "noauth", "options": options}}
        self.transport = get_transport_for(self._endpoint, version=2, options=conf)

    def ask(self, action: str, **body: Any) -> tuple[int, Any]:
        asked = request.Request(self._endpoint, action, content=json.dumps(body))
        answer = self.transport.send(asked)
        return answer.status_code, json.loads(answer.content)


@pytest.fixture
def client(server: ServerProcess, project: str) -> Iterator[Zaqarclient]:
    made = Zaqarclient(server, project)
    yield made
    made.transport.cleanup()


def test_zaqarclient_goes_through_its_whole_day(client: Zaqarclient) -> None:
    assert client.ask("queue_create", queue_name="jobs") == (201, "Queue jobs created.")
    messages = [{"body": {"job": number}, "ttl": 300} for number in range(3)]
    status, posted = client.ask("message_post", queue_name="jobs", messages=messages)
    assert (status, len(posted["message_ids"])) == (201, 3)
    status, taken = client.ask("claim_create", queue_name="jobs", ttl=300, grace=60, limit=2)
    assert [message["body"] for message in taken["messages"]] == [{"job": 0}, {"job": 1}]
    first = taken["messages"][0]
    gone = {"queue_name": "jobs", "message_id": first["id"], "claim_id": taken["claim_id"]}
    assert client.ask("message_delete", **gone) == (204, {})
    _, popped = client.ask("message_delete_many", queue_name="jobs", pop=5)
    assert [message["body"] for message in popped["messages"]] == [{"job": 2}]
    _, stats = client.ask("queue_get_stats", queue_name="jobs")
    assert stats["messages"]["claimed"] == 1
    assert client.ask("queue_delete", queue_name="jobs")[0] == 204


def test_zaqarclient_is_told_why_in_words_that_it_shows(client: Zaqarclient) -> None:
    with pytest.raises(errors.MalformedRequest) as refused:
        client.ask("message_post", queue_name="jobs", messages=[{"body": 1, "ttl": 1}])
    assert "ttl of message 0" in str(refused.value)
    with pytest.raises(errors.ResourceNotFound):
        client.ask("message_get", queue_name="jobs", message_id="0" * 32)


def test_zaqarclient_receives_what_is_pushed(client: Zaqarclient) -> None:
    client.ask("subscription_create", queue_name="jobs", ttl=10_000)
    client.ask("message_post", queue_name="jobs", messages=[{"body": "hi", "ttl": 300}])
    assert client.transport.recv() == {
        "ttl": 300,
        "body": "hi",
        "Message_Type": "Notification",
        "queue_name": "jobs",
    }


async def test_pages_of_other_sites_get_no_connection(server: ServerProcess) -> None:
    for origin in ("http://evil.example", "null"):
        with pytest.raises(InvalidStatus) as refused:
            await connect(ws(server), origin=origin, proxy=None)
        assert refused.value.response.status_code == 403
    with pytest.raises(InvalidStatus) as refused:
        await connect(ws(server), additional_headers={"Host": "evil.example"}, proxy=None)
    assert refused.value.response.status_code == 400  # the client sends two hosts then
    async with talking(ws(server), origin="http://127.0.0.1:1234") as talk:
        assert (await talk.ask("queue_list")).status == 200


async def test_a_port_of_their_own_takes_any_path_and_nothing_else(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "--websocket-listen", "127.0.0.1:0") as server:
        [own] = re.findall(r"websockets +(ws://\S+)", server.output)
        for url in (f"{own}/any/path?a=b", own, ws(server)):
            async with talking(url) as talk:
                assert (await talk.ask("queue_list")).status == 200
        refused = await converse("127.0.0.1", int(own.rpartition(":")[2]), GET)
        assert refused.status == 426
        async with talking(own) as talk:
            server.signal(15)
            with pytest.raises(ConnectionClosed) as closed:
                await talk.next()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
        assert server.wait() == 0


async def test_a_client_goes_on_after_a_restart_without_a_gap(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        async with talking(ws(server)) as talk:
            made = await talk.ask("subscription_create", queue_name="jobs")
            await talk.ask("message_post", queue_name="jobs", messages=[{"body": 0}, {"body": 1}])
            first = await talk.push()
            assert first["body"] == 0
            assert server.terminate() == 0
        server.start()
        async with talking(ws(server)) as talk:
            options = {"since": made.body["marker"], "detailed": True}
            await talk.ask("subscription_create", queue_name="jobs", options=options)
            await talk.ask("message_post", queue_name="jobs", messages=[{"body": 2}])
            seen = [await talk.push() for _ in range(3)]
            assert [found["body"] for found in seen] == [0, 1, 2]
        server.kill()
        server.start()
        async with talking(ws(server)) as talk:
            options = {"since": seen[1]["marker"]}
            await talk.ask("subscription_create", queue_name="jobs", options=options)
            assert (await talk.push())["body"] == 2


async def test_metrics_count_websockets(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        async with talking(ws(server)) as talk:
            await talk.ask("subscription_create", queue_name="jobs")
            await talk.ask("message_post", queue_name="jobs", messages=[{"body": 1}])
            await talk.push()
            await talk.ask("brew")
            metrics = GET.replace(b"/v2/queues", b"/metrics")
            text = (await converse("127.0.0.1", server.port, metrics)).answers[0].body.decode()
        assert "nuska_websockets 1.0" in text
        assert "nuska_websocket_messages_total 3.0" in text
        assert "nuska_websocket_pushes_total 1.0" in text
        assert 'nuska_requests_total{method="WS",route="message_post",status="201"} 1.0' in text
        assert 'nuska_requests_total{method="WS",route="unmatched",status="400"} 1.0' in text


@pytest.mark.slow
async def test_a_slow_reader_is_closed_with_a_reason_and_others_are_told(tmp_path: Path) -> None:
    bounds = {"NUSKA_WEBSOCKET_SLOW_TIMEOUT": "0.5", "NUSKA_MAX_OUTBOX": "65536"}
    with ServerProcess(tmp_path, environment=bounds) as server:
        async with talking(ws(server), max_queue=1) as slow, talking(ws(server)) as quick:
            for talk in (slow, quick):
                await talk.ask("subscription_create", queue_name="jobs")
            slow.connection.transport.pause_reading()
            metrics = GET.replace(b"/v2/queues", b"/metrics")
            text, body = "", "x" * 200_000
            while 'nuska_websockets_closed_total{code="4008"} 1.0' not in text:
                await quick.ask("message_post", queue_name="jobs", messages=[{"body": body}])
                assert (await quick.push())["body"] == body
                shown = await converse("127.0.0.1", server.port, metrics)
                text = shown.answers[0].body.decode()
            assert "nuska_websockets 1.0" in text
