"""The real server with API keys: the first one from the store, others over HTTP."""

import asyncio
import http.client
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from nuska.client import Client, NotAllowed, NotAuthenticated
from nuska.client.blocking import BlockingClient
from nuska.testing.server_process import ServerProcess
from nuska.testing.websocket_client import talking

WITHIN = 60


@dataclass(frozen=True)
class Closed:
    server: ServerProcess
    key: str
    """The first one, of an admin of the project shop."""

    def client(self, token: str | None = None, project: str = "shop") -> BlockingClient:
        return BlockingClient(self.server.url, project=project, token=token or self.key)


def nuska(*arguments: str, token: str = "", url: str = "") -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "NUSKA_PROJECT": "shop", "NUSKA_TOKEN": token, "NUSKA_URL": url}
    return subprocess.run(
        [sys.executable, "-m", "nuska", *arguments],
        capture_output=True,
        text=True,
        timeout=WITHIN,
        env={name: value for name, value in environment.items() if value},
        check=False,
    )


@dataclass(frozen=True)
class Plain:
    status: int
    challenge: str | None
    body: bytes


def call(closed: Closed, method: str, path: str, headers: dict[str, str]) -> Plain:
    connection = http.client.HTTPConnection("127.0.0.1", closed.server.port, timeout=WITHIN)
    try:
        connection.request(method, path, headers={"Client-ID": str(uuid.uuid4()), **headers})
        answer = connection.getresponse()
        return Plain(answer.status, answer.getheader("WWW-Authenticate"), answer.read())
    finally:
        connection.close()


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Closed]:
    data: Path = tmp_path_factory.mktemp("data")
    made = nuska(
        *("key", "create", "the first", "--in-store", "--data", str(data), "--project", "shop"),
        *("--role", "admin", "--role", "member"),
    )
    assert made.returncode == 0, made.stderr
    with ServerProcess(data, "--auth", "keys", listen="0.0.0.0:0") as server:
        yield Closed(server, made.stdout.strip())


def test_a_server_with_keys_listens_where_others_reach_it(closed: Closed) -> None:
    assert "API keys; the first one is made, while this server is stopped" in closed.server.output
    assert "OPEN" not in closed.server.output


def test_nobody_gets_in_without_a_key(closed: Closed) -> None:
    refused: list[dict[str, str]] = [
        {},
        {"X-Roles": "admin"},
        {"X-Identity-Status": "Confirmed", "X-User-Id": "root"},
        {"X-Auth-Token": "nuska_0000000000000000_" + "0" * 64},
        {"X-Auth-Token": closed.key[:-1]},
        {"X-Auth-Token": ""},
        {"Authorization": f"Basic {closed.key}"},
        {"X-Auth-Token": closed.key, "X-Api-Key": closed.key},
    ]
    for more in refused:
        answer = call(closed, "GET", "/v2/queues", {"X-Project-Id": "shop", **more})
        assert answer.status == 401, more
        assert answer.challenge == 'Bearer realm="nuska"'
        assert json.loads(answer.body)["error"]["code"] == 401


@pytest.mark.parametrize("where", ["X-Auth-Token", "X-Api-Key", "Authorization"])
def test_a_key_is_good_wherever_it_stands_and_its_project_counts(
    closed: Closed, where: str
) -> None:
    value = f"Bearer {closed.key}" if where == "Authorization" else closed.key
    name = f"of-shop-{where}"
    headers = {"X-Project-Id": "bank", where: value}
    assert call(closed, "PUT", f"/v2/queues/{name}", headers).status == 201
    with closed.client() as client:
        assert name in [entry.name for entry in client.queues()]


def test_what_is_open_needs_no_key(closed: Closed) -> None:
    answers = [call(closed, "GET", path, {}).status for path in ("/", "/v2", "/v2/ping")]
    assert answers == [300, 200, 204]


def test_a_sensor_posts_to_its_queue_and_does_nothing_else(closed: Closed) -> None:
    made = nuska(
        *("key", "create", "sensor", "--queue", "readings", "--action", "messages:create"),
        *("--ttl", "600", "--json"),
        token=closed.key,
        url=closed.server.url,
    )
    assert made.returncode == 0, made.stderr
    key = json.loads(made.stdout)["key"]
    with closed.client(key) as sensor, closed.client() as admin:
        sensor.queue("readings").post({"celsius": 21})
        for forbidden in (
            lambda: sensor.queue("other").post({}),
            lambda: list(sensor.queue("readings").messages()),
            lambda: sensor.queue("readings").delete(),
            lambda: list(sensor.queues()),
            lambda: sensor.topic("readings").publish({}),
        ):
            with pytest.raises(NotAllowed):
                forbidden()
        (message,) = admin.queue("readings").messages()
        assert message.body == {"celsius": 21}


def test_a_command_without_a_key_says_where_one_goes(closed: Closed) -> None:
    refused = nuska("queue", "list", url=closed.server.url)
    assert (refused.returncode, "Set NUSKA_TOKEN" in refused.stderr) == (1, True)
    wrong = nuska("queue", "list", token=closed.key[:-1], url=closed.server.url)
    assert (wrong.returncode, "NUSKA_TOKEN says is not accepted" in wrong.stderr) == (1, True)
    assert "NUSKA_PROJECT" not in wrong.stderr
    other = nuska("tail", "jobs", "--project", "other", token=closed.key, url=closed.server.url)
    assert (other.returncode, "not for the project that NUSKA_PROJECT" in other.stderr) == (1, True)


def test_it_is_said_where_a_key_counts_for_nothing(closed: Closed, tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "--admin-mode") as open_to_all:
        made = nuska("key", "create", url=open_to_all.url)
        assert (made.returncode, "--auth keys" in made.stderr) == (0, True)
    made = nuska("key", "create", "--in-store", "--data", str(tmp_path))
    assert "--auth keys" in made.stderr
    made = nuska("key", "create", token=closed.key, url=closed.server.url)
    assert (made.returncode, "--auth" in made.stderr) == (0, False)


def test_a_revoked_key_is_refused_at_once(closed: Closed) -> None:
    made = nuska("key", "create", "--json", token=closed.key, url=closed.server.url)
    key = json.loads(made.stdout)
    with closed.client(key["key"]) as client:
        client.queue("jobs").post({})
        revoked = nuska("key", "revoke", key["id"], token=closed.key, url=closed.server.url)
        assert revoked.returncode == 0, revoked.stderr
        with pytest.raises(NotAuthenticated):
            client.queue("jobs").post({})


def test_keys_are_listed_without_their_secrets(closed: Closed) -> None:
    listed = nuska("key", "list", token=closed.key, url=closed.server.url)
    assert listed.returncode == 0, listed.stderr
    assert "the first" in listed.stdout
    assert closed.key.rpartition("_")[2] not in listed.stdout
    id_ = closed.key.split("_")[1]
    shown = nuska("key", "show", id_, "--json", token=closed.key, url=closed.server.url)
    assert json.loads(shown.stdout)["roles"] == ["admin", "member"]


def test_a_reader_reads_and_changes_nothing(closed: Closed) -> None:
    made = nuska(
        *("key", "create", "--role", "reader", "--json"), token=closed.key, url=closed.server.url
    )
    with closed.client() as admin, closed.client(json.loads(made.stdout)["key"]) as reader:
        admin.queue("news").post("hello")
        assert [message.body for message in reader.queue("news").messages()] == ["hello"]
        with pytest.raises(NotAllowed):
            reader.queue("news").post("bye")


def test_no_secret_is_in_what_the_server_prints(closed: Closed) -> None:
    assert closed.key.rpartition("_")[2] not in closed.server.output


async def test_a_key_opens_a_websocket_and_a_wrong_one_does_not(closed: Closed) -> None:
    url = closed.server.url
    async with (
        asyncio.timeout(WITHIN),
        Client(url, project="shop", token=closed.key, transport="websocket") as client,
        client.subscribe("live") as live,
    ):
        await client.queue("live").post({"celsius": 21})
        assert (await anext(live)).body == {"celsius": 21}
        assert [message.body async for message in client.queue("live").messages()]
    wrong = closed.key[:-1] + ("0" if closed.key[-1] != "0" else "1")
    for token in (wrong, None):
        async with Client(url, project="shop", token=token, transport="websocket") as client:
            with pytest.raises((NotAuthenticated, NotAllowed)) as refused:
                await client.queue("live").post(1)
            assert wrong not in str(refused.value)
            with pytest.raises((NotAuthenticated, NotAllowed)):
                await anext(client.subscribe("live"))


async def test_a_revoked_key_closes_the_connections_that_last_by_it(closed: Closed) -> None:
    with closed.client() as admin:
        made = admin.keys().create("short-lived")
    url = closed.server.url.replace("http", "ws", 1).replace("0.0.0.0", "127.0.0.1")
    async with talking(f"{url}/v2/websocket", project="shop") as talk:
        assert (await talk.ask("authenticate", {"X-Api-Key": made.key})).status == 200
        assert (await talk.ask("subscription_create", queue_name="live")).status == 201
        with closed.client() as admin:
            admin.keys().revoke(made.id)
        with pytest.raises(ConnectionClosed) as ended:
            await talk.next()
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code == 4003
