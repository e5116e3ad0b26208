"""``nuska serve --workers N``: one address, several processes, one life."""

import json
import os
import re
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nuska.testing.server_process import ServerProcess

CLIENT = "3381af92-2b9e-11e3-b191-71861300734c"
SOON = 20.0
"""Seconds; a wait for an event that has a reason to come."""
WORKERS = 2
GIVEN_UP = 5


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def call(url: str, project: str, method: str = "GET", body: str | None = None) -> tuple[int, bytes]:
    headers = {"Client-ID": CLIENT, "X-Project-Id": project, "Content-Type": "application/json"}
    data = None if body is None else body.encode()
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=SOON) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def metric(server: ServerProcess, name: str) -> float:
    _, text = call(f"{server.url}/metrics", "p")
    return sum(
        float(line.rpartition(" ")[2])
        for line in text.decode().splitlines()
        if line.startswith((f"{name} ", f"{name}{{"))
    )


def workers_of(server: ServerProcess) -> set[int]:
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
    return {int(pid) for pid in children.split()}


def alive(pid: int) -> bool:
    """Whether it still runs; one that waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.fixture
def server(tmp_path: Path, url: str) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path, "--workers", str(WORKERS), store=url) as running:
        yield running


def test_it_says_once_what_one_process_says_and_how_many_there_are(server: ServerProcess) -> None:
    until(lambda: server.output.endswith("\n\n"))
    assert server.output.count("listening on") == 1
    assert f"  workers       {WORKERS}\n" in server.output
    assert len(workers_of(server)) == WORKERS


def test_connections_are_taken_by_whichever_worker_is_free(server: ServerProcess) -> None:
    """A worker that does not answer takes its own connections along, and no others."""
    paused = min(workers_of(server))
    os.kill(paused, signal.SIGSTOP)
    try:
        for _ in range(10):
            assert call(f"{server.url}/v2/queues", "p")[0] == 200
    finally:
        os.kill(paused, signal.SIGCONT)


def test_a_worker_that_dies_is_replaced_and_the_other_one_serves_on(
    server: ServerProcess, project: str
) -> None:
    before = workers_of(server)
    messages = f"{server.url}/v2/queues/jobs/messages"
    for pid in sorted(before):
        assert call(messages, project, "POST", '{"messages": [{"body": 1}]}')[0] == 201
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: pid not in workers_of(server) and len(workers_of(server)) == WORKERS)
    until(lambda: metric(server, "nuska_workers_ended_total") == WORKERS)
    _, listed = call(f"{messages}?echo=true", project)
    assert len(json.loads(listed)["messages"]) == WORKERS
    assert server.output.count("a worker has ended and is started again") == WORKERS
    assert server.output.count("listening on") == 1


def test_metrics_are_those_of_all_workers_whoever_is_asked(
    server: ServerProcess, project: str
) -> None:
    counted = 'nuska_requests_total{method="PUT",route="/v2/queues/{queue_name}",status="201"}'
    for number in range(20):
        assert call(f"{server.url}/v2/queues/q{number}", project, "PUT")[0] == 201
    until(lambda: all(metric(server, counted) == 20 for _ in range(4)))
    for pid in workers_of(server):
        os.kill(pid, signal.SIGTERM)  # they say what they have counted before they go
    until(lambda: metric(server, "nuska_workers_ended_total") == WORKERS)
    assert metric(server, counted) == 20


def test_one_of_them_sweeps(server: ServerProcess) -> None:
    """Twenty steps take one worker five seconds, and two of them half of that; what is shown
    may be a second old."""
    before, began = metric(server, "nuska_sweep_steps_total"), time.monotonic()
    until(lambda: metric(server, "nuska_sweep_steps_total") >= before + 20)
    assert time.monotonic() - began > 3.5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_requests_finish_and_ends_all(server: ServerProcess, number: int) -> None:
    workers = workers_of(server)
    body = b'{"messages": [{"body": "stopped"}]}'
    head = (
        f"POST /v2/queues/jobs/messages HTTP/1.1\r\nHost: localhost\r\nClient-ID: {CLIENT}\r\n"
        f"X-Project-Id: p\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=SOON) as client:
        client.sendall(head.encode() + body[:10])
        until(lambda: metric(server, "nuska_requests_running") == 2)
        server.signal(number)
        until(lambda: "Stopping" in server.output)
        client.sendall(body[10:])
        answer = client.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 201 ")
        assert server.wait() == 0
    assert not any(alive(pid) for pid in workers)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=SOON)


def test_a_signal_to_the_whole_group_is_one_signal(tmp_path: Path, url: str) -> None:
    """As a terminal's Ctrl-C and most service managers send it."""
    with ServerProcess(tmp_path, "--workers", "2", store=url) as server:
        for number in (signal.SIGINT, signal.SIGTERM):
            for pid in workers_of(server):
                os.kill(pid, number)
            server.signal(number)
            if number == signal.SIGINT:
                assert server.wait() == 0
                server.start()
        assert server.wait() == 0
        assert "Traceback" not in server.output


def test_a_second_signal_ends_all_at_once(tmp_path: Path, url: str) -> None:
    environment = {"NUSKA_STOP_TIMEOUT": "600"}
    with ServerProcess(tmp_path, "--workers", "2", store=url, environment=environment) as server:
        workers = workers_of(server)
        with socket.create_connection(("127.0.0.1", server.port), timeout=SOON) as client:
            client.sendall(b"GET /v2 HTTP/1.1\r\n")
            until(lambda: metric(server, "nuska_connections") == 2)
            server.signal(signal.SIGTERM)
            until(lambda: "Stopping" in server.output)
            assert server.terminate(SOON) == 128 + signal.SIGTERM
        until(lambda: not any(alive(pid) for pid in workers))


def test_no_worker_outlives_its_supervisor(server: ServerProcess) -> None:
    workers = workers_of(server)
    os.kill(server.pid, signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in workers))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=SOON)


def test_a_socket_file_serves_all_and_goes_with_the_last(tmp_path: Path, url: str) -> None:
    path = tmp_path / "socket"
    arguments = ("--workers", "2", "--metrics", "127.0.0.1:0")
    with ServerProcess(tmp_path / "data", *arguments, store=url, listen=f"unix:{path}") as server:
        [apart] = re.findall(r"metrics +(\S+)", server.output)
        [first, _] = sorted(workers_of(server))
        os.kill(first, signal.SIGTERM)
        until(lambda: first not in workers_of(server))
        assert path.exists(), "it is not a worker's to remove"
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(SOON)
            client.connect(str(path))
            client.sendall(b"GET /v2/ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.recv(65_536).startswith(b"HTTP/1.1 204 ")
        assert call(apart, "p")[0] == 200
        assert server.terminate() == 0
    assert not path.exists()


def test_what_keeps_the_first_from_starting_is_said_once(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        server = ServerProcess(
            tmp_path, "--workers", "3", store=f"redis://127.0.0.1:{nobody.getsockname()[1]}"
        )
        server.launch()
        try:
            assert server.wait(SOON) == 1
        finally:
            server.kill()
    assert server.output.count("nuska: ") == 1
    assert "Traceback" not in server.output


@pytest.mark.slow
def test_workers_that_die_again_and_again_are_given_up_with_a_sentence(
    server: ServerProcess,
) -> None:
    deadline = time.monotonic() + 90
    while server.running:
        assert time.monotonic() < deadline
        for pid in workers_of(server):
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    assert server.wait() == 1
    assert "no worker stays alive: giving up" in server.output
