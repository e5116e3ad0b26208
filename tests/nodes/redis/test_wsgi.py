"""``nuska.wsgi:application`` under a real uWSGI, with several processes and threads."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from nuska.client import Client, NewMessage
from nuska.testing.event_source import EventSource
from nuska.testing.kill_clients import Clients
from nuska.testing.kill_harness import drain
from nuska.testing.plain_http import PlainClient
from nuska.testing.redis_server import redis_server
from nuska.testing.server_process import ServerProcess
from nuska.testing.verdicts import judge

ROOT = Path(__file__).resolve().parents[3]
INI = re.search(r"```ini\n(.*?)```", (ROOT / "docs" / "wsgi.md").read_text(), re.DOTALL)
SOON = 30.0
"""Seconds; a wait for an event that has a reason to come."""
REQUESTS = 1500
WAITING = 5
"""Seconds of a long poll."""


class Uwsgi:
    """A uWSGI with the configuration of docs/wsgi.md, on a free port."""

    def __init__(
        self, directory: Path, store: str, edit: Callable[[str], str] = str, **settings: str
    ) -> None:
        """``settings`` replace the environment variables that the page sets."""
        assert INI is not None
        program = Path(sys.executable).parent / "pyuwsgi"
        assert program.exists(), "these tests need the dependency group wsgi-server"
        configuration = directory / "uwsgi.ini"
        configuration.write_text(edit(INI[1].replace("127.0.0.1:8888", "127.0.0.1:0")))
        environment = {
            name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ
        }
        environment |= settings or {"NUSKA_STORE": store, "NUSKA_INSECURE_OPEN": "true"}
        self.said: list[str] = []
        self.port = 0
        self._bound = threading.Event()
        self.process = subprocess.Popen(
            [program, "--ini", configuration],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**environment, "PYTHONPATH": str(ROOT / "src"), "LC_ALL": "C.UTF-8"},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.said.append(line)
                if found := re.search(r"bound to TCP address 127\.0\.0\.1:(\d+)", line):
                    self.port = int(found[1])
                if "spawned uWSGI worker" in line:
                    self._bound.set()
        self._bound.set()

    @property
    def output(self) -> str:
        return "".join(self.said)

    def wait(self) -> int:
        code = self.process.wait(SOON)
        self._reader.join(SOON)
        return code

    def ready(self) -> None:
        assert self._bound.wait(SOON)
        assert self.process.poll() is None, self.output

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.wait()
        self._reader.join(SOON)


@contextmanager
def uwsgi(directory: Path, store: str, edit: Callable[[str], str] = str) -> Iterator[Uwsgi]:
    running = Uwsgi(directory, store, edit)
    try:
        running.ready()
        yield running
    finally:
        running.kill()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, url: str) -> Iterator[Uwsgi]:
    with uwsgi(tmp_path_factory.mktemp("uwsgi"), url) as running:
        yield running


def client_of(server: Uwsgi, project: str) -> PlainClient:
    return PlainClient(server.port, project=project, client_id=str(uuid.uuid4()))


def raw(server: Uwsgi, request: bytes) -> bytes:
    received = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=SOON) as connection:
        connection.sendall(request)
        while piece := connection.recv(65_536):
            received += piece
    return received


def test_the_commands_of_the_banner_work(server: Uwsgi, project: str) -> None:
    assert shutil.which("curl")

    def curl(*arguments: str) -> dict:
        who = ("-H", f"Client-ID: {uuid.uuid4()}", "-H", f"X-Project-Id: {project}")
        done = subprocess.run(
            ["curl", "-sS", *who, "-H", "Content-Type: application/json", *arguments],
            capture_output=True,
            timeout=SOON,
            check=True,
        )
        return json.loads(done.stdout)

    queue = f"http://127.0.0.1:{server.port}/v2/queues/demo"
    body = json.dumps({"messages": [{"body": {"job": "ü" * 20_000}}]}, ensure_ascii=False)
    posted = curl("-d", body, f"{queue}/messages")
    claimed = curl("-X", "POST", f"{queue}/claims")
    listed = curl(f"{queue}/messages?echo=true&include_claimed=true")
    assert claimed["messages"][0]["body"] == {"job": "ü" * 20_000}
    assert claimed["messages"][0]["href"].startswith(posted["resources"][0])
    assert listed["messages"][0]["id"] == claimed["messages"][0]["id"]


async def test_the_python_client_works(server: Uwsgi, project: str) -> None:
    async with Client(f"http://127.0.0.1:{server.port}", project=project) as client:
        jobs = client.queue("jobs")
        await jobs.post_many([NewMessage(body={"job": number}) for number in range(30)])
        done = []
        while len(done) < 30:
            async with jobs.claim(limit=7) as claim:
                for message in claim:
                    done.append(message.body["job"])
                    await message.delete()
        assert done == list(range(30))


@pytest.mark.slow
async def test_processes_and_threads_keep_every_promise_under_load(server: Uwsgi) -> None:
    up = asyncio.Event()
    up.set()
    clients = Clients(Random(7), lambda: server.port, up)
    await clients.prepare()
    async with asyncio.TaskGroup() as group:
        clients.start(group)
        async with asyncio.timeout(4 * SOON):
            while clients.requests < REQUESTS:  # noqa: ASYNC110  # the clients only count
                await asyncio.sleep(0.1)
        clients.stopping = True
    async with clients.connect() as client:
        clients.history.found = await drain(client)
    report = judge(clients.history)
    assert report.problems == []
    assert clients.unavailable == 0
    assert report.ok == report.acknowledged > 0
    served = set(re.findall(r"^\[pid: (\d+)\|", server.output, re.MULTILINE))
    assert len(served) == 2, "both processes took part"


async def test_long_polls_are_woken_and_hold_at_most_half_of_the_threads(
    server: Uwsgi, project: str
) -> None:
    polls = 12
    """Of 16 threads, at most 8 wait."""

    async def poll() -> float:
        began = time.monotonic()
        async with client_of(server, project) as client:
            answer = await client.ask("POST", f"/v2/queues/none/claims?wait={WAITING}", {})
            assert answer.status == 204
        return time.monotonic() - began

    async def woken() -> list:
        async with client_of(server, project) as client:
            answer = await client.ask("POST", f"/v2/queues/jobs/claims?wait={WAITING}", {})
            return json.loads(answer.body)["messages"] if answer.status == 201 else []

    took = await asyncio.gather(*(poll() for _ in range(polls)))
    assert 1 <= sum(seconds >= WAITING for seconds in took) <= 8
    waiting = asyncio.create_task(woken())
    await asyncio.sleep(0.3)
    async with client_of(server, project) as client:
        body = {"messages": [{"body": "here"}]}
        assert (await client.ask("POST", "/v2/queues/jobs/messages", body)).status == 201
    assert [message["body"] for message in await waiting] == ["here"]


def test_odd_requests_are_answered_and_never_crash_it(server: Uwsgi) -> None:
    who = (
        b"Host: localhost\r\nClient-ID: 3381af92-2b9e-11e3-b191-71861300734c\r\nX-Project-Id: p\r\n"
    )
    for request, status in (
        (b"GET /v2/queues/%ff HTTP/1.1\r\n", b"400"),
        (b"GET /v2/queues/\xff?a=\xff HTTP/1.1\r\n", b"400"),
        (b"GET /v2/queues?limit=%ff HTTP/1.1\r\n", b"400"),
        (b"POST /v2/queues/q/messages HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", b"411"),
        (b"POST /v2/queues/q/messages HTTP/1.1\r\nContent-Length: x\r\n", b"400"),
        (b"GET /nothing HTTP/1.1\r\n", b"404"),
        (b"HEAD /v2/ping HTTP/1.1\r\n", b"204"),
    ):
        answer = raw(server, request + who + b"\r\n")
        assert answer.split(b" ")[1] == status, answer
    foreign = (
        b"GET /v2/queues HTTP/1.1\r\nHost: evil.example\r\n"
        + who[len(b"Host: localhost\r\n") :]
        + b"\r\n"
    )
    assert raw(server, foreign).split(b" ")[1] == b"403"
    assert "Traceback" not in server.output


def test_a_store_that_is_away_is_503_and_back_by_itself(tmp_path: Path) -> None:
    who = (
        b"Host: localhost\r\nClient-ID: 3381af92-2b9e-11e3-b191-71861300734c\r\nX-Project-Id: p\r\n"
    )
    request = b"GET /v2/queues HTTP/1.1\r\n" + who + b"\r\n"

    def until(status: bytes, server: Uwsgi) -> bytes:
        deadline = time.monotonic() + SOON
        while (answer := raw(server, request)).split(b" ")[1] != status:
            assert time.monotonic() < deadline, answer
            time.sleep(0.1)
        return answer

    with redis_server(tmp_path / "redis") as redis:
        store = redis.url
        redis.kill()
        with uwsgi(tmp_path, store) as server:
            assert b"retry-after: 1" in until(b"503", server).lower()
            redis.start()
            until(b"200", server)
            redis.kill()
            until(b"503", server)
            redis.start()
            until(b"200", server)
            server.process.send_signal(signal.SIGTERM)
            assert server.wait() == 0


def test_what_wsgi_cannot_do_is_said_with_who_can(server: Uwsgi, project: str) -> None:
    who = f"Host: localhost\r\nX-Project-Id: {project}\r\n"
    upgrade = (
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    for path, headers in (
        ("/v2/queues/news/messages/stream", ""),
        ("/v2/topics/news/messages/stream", ""),
        ("/", upgrade),
        ("/v2/websocket", upgrade),
    ):
        request = f"GET {path} HTTP/1.1\r\n{who}{headers}\r\n"
        head, _, body = raw(server, request.encode()).partition(b"\r\n\r\n")
        assert head.split(b" ")[1] == b"501", head
        assert b"retry-after" not in head.lower()
        assert "runs nuska serve" in json.loads(body)["description"]


async def test_what_is_posted_under_wsgi_is_heard_at_a_node_beside_it(
    server: Uwsgi, tmp_path: Path, url: str, project: str
) -> None:
    with ServerProcess(tmp_path, store=url) as node:
        stream = f"/v2/queues/news/messages/stream?project_id={project}"
        async with EventSource(node.port, stream) as source, client_of(server, project) as client:
            await source.begun()
            posted = {"messages": [{"body": 1}, {"body": 2}]}
            answer = await client.ask("POST", "/v2/queues/news/messages", posted)
            assert answer.status == 201
            assert await source.bodies(2) == [1, 2]


PAGE = "https://console.example.net"


def headers_in(answer: bytes) -> dict[str, str]:
    head = answer.partition(b"\r\n\r\n")[0].decode("latin-1")
    pairs = (line.partition(":") for line in head.split("\r\n")[1:])
    return {name.lower(): value.strip() for name, _, value in pairs}


def test_browsers_and_the_audit_log_get_what_they_get_from_our_own_server(
    tmp_path: Path, url: str, project: str
) -> None:
    log = tmp_path / "audit.log"
    running = Uwsgi(
        tmp_path,
        url,
        NUSKA_STORE=url,
        NUSKA_INSECURE_OPEN="true",
        NUSKA_CORS_ORIGINS=PAGE,
        NUSKA_AUDIT_LOG=str(log),
    )
    host = b"Host: localhost\r\n"
    who = f"Client-ID: {uuid.uuid4()}\r\nX-Project-Id: {project}\r\n".encode()
    origin = f"Origin: {PAGE}\r\n".encode()
    asks = b"Access-Control-Request-Method: PUT\r\n"
    try:
        running.ready()
        preflight = raw(
            running, b"OPTIONS /v2/queues/q HTTP/1.1\r\n" + host + origin + asks + b"\r\n"
        )
        assert preflight.split(b" ")[1] == b"200"
        assert headers_in(preflight)["access-control-allow-origin"] == PAGE
        made = raw(
            running,
            b"PUT /v2/queues/q HTTP/1.1\r\nContent-Length: 0\r\n" + host + who + origin + b"\r\n",
        )
        assert made.split(b" ")[1] == b"201"
        assert headers_in(made)["access-control-allow-origin"] == PAGE
        own = raw(running, b"GET /v2/queues HTTP/1.1\r\n" + host + who + b"\r\n")
        assert "access-control-allow-origin" not in headers_in(own)
        refused = raw(running, b"GET /v2/pools HTTP/1.1\r\n" + host + who + b"\r\n")
        unread = raw(
            running,
            b"POST /v2/queues/q/messages HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
            + host + who + b"\r\n",
        )  # fmt: skip
        assert unread.split(b" ")[1] == b"411"
        for answer in (preflight, made, own, refused, unread):
            assert headers_in(answer)["x-content-type-options"] == "nosniff"
    finally:
        running.kill()
    [line] = [json.loads(line) for line in log.read_text().splitlines()]
    assert (line["action"], line["outcome"]) == ("queues:create", "done")
    assert (line["project"], line["from"]) == (project, "127.0.0.1")
    assert line["target"] == "/v2/queues/q"
    assert line["request_id"] == headers_in(made)["x-openstack-request-id"]
    assert log.stat().st_mode & 0o077 == 0


STORE, OPEN = {"NUSKA_STORE": "redis://localhost"}, {"NUSKA_INSECURE_OPEN": "true"}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (OPEN, "this store belongs to one process at a time"),
        (OPEN | {"NUSKA_STORE": "memory:"}, "this store belongs to one process at a time"),
        (STORE, "Set auth_strategy"),
        (STORE | OPEN | {"NUSKA_AUDIT_LOG": "/nowhere/audit.log"}, "audit_log: /nowhere"),
        (STORE | OPEN | {"NUSKA_STOR": "x"}, "NUSKA_STOR: no such setting; perhaps NUSKA_STORE"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_loaded(
    tmp_path: Path, settings: dict[str, str], sentence: str
) -> None:
    assert_refused(Uwsgi(tmp_path, "", **settings), sentence)


def test_a_uwsgi_without_threads_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    server = Uwsgi(tmp_path, "redis://localhost", lambda ini: ini.replace("threads = 8\n", ""))
    assert_refused(server, "set enable-threads = true in uWSGI")


def assert_refused(server: Uwsgi, sentence: str) -> None:
    try:
        assert server.wait() != 0
    finally:
        server.kill()
    assert sentence in server.output


def test_without_threads_of_its_own_it_works_and_nobody_waits(tmp_path: Path, url: str) -> None:
    def one_thread(text: str) -> str:
        return text.replace("threads = 8", "enable-threads = true")

    who = (
        b"Host: localhost\r\nClient-ID: 3381af92-2b9e-11e3-b191-71861300734c\r\nX-Project-Id: p\r\n"
    )
    poll = b"POST /v2/queues/none/claims?wait=10 HTTP/1.1\r\n" + who + b"\r\n"
    with uwsgi(tmp_path, url, one_thread) as server:
        raw(server, poll)
        began = time.monotonic()
        assert raw(server, poll).split(b" ")[1] == b"204"
        assert time.monotonic() - began < 5
