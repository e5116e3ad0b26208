"""``nuska serve`` as people meet it: a process that starts, says what it does, and stops."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from nuska import __version__
from nuska.testing.server_process import ServerFailed, ServerProcess

CLIENT = "3381af92-2b9e-11e3-b191-71861300734c"
WHO = {"Client-ID": CLIENT, "X-Project-Id": "p", "Content-Type": "application/json"}
SOON = 20.0
"""Seconds; a wait for an event that has a reason to come."""
POST = b'{"messages": [{"body": "stopped"}]}'
HALF_A_POST = (
    b"POST /v2/queues/jobs/messages HTTP/1.1\r\nHost: localhost\r\nClient-ID: %b\r\n"
    b"X-Project-Id: p\r\nContent-Length: %d\r\n\r\n%b" % (CLIENT.encode(), len(POST), POST[:10])
)


def call(url: str, method: str = "GET", body: str | None = None, **more: str) -> tuple[int, bytes]:
    data = None if body is None else body.encode()
    request = urllib.request.Request(url, data=data, headers=WHO | more, method=method)
    try:
        with urllib.request.urlopen(request, timeout=SOON) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def connect(server: ServerProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=SOON)


def read_to_end(client: socket.socket) -> bytes:
    received = b""
    while piece := client.recv(65_536):
        received += piece
    return received


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def fails(data: Path, *arguments: str, **more: object) -> tuple[int, str]:
    """Exit code and output of a server that is not to start."""
    server = ServerProcess(data, *arguments, **more)
    server.launch()
    try:
        code = server.wait(SOON)
    finally:
        server.kill()
    assert "Traceback" not in server.output
    return code, server.output


# Starting


def test_it_is_ready_within_a_second(tmp_path: Path) -> None:
    def seconds_to_ready() -> float:
        """Of the processor's time: what other tests do to the machine's is not ours."""
        with ServerProcess(tmp_path) as server:
            fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
            user, system = int(fields[11]), int(fields[12])
        return (user + system) / os.sysconf("SC_CLK_TCK")

    assert min(seconds_to_ready() for _ in range(3)) < 1.0


def test_it_says_where_it_listens_where_data_live_how_durable_and_that_it_is_open(
    tmp_path: Path,
) -> None:
    with ServerProcess(tmp_path) as server:
        status, _ = call(f"{server.url}/v2")
        said = server.output
    assert status == 200
    assert f"Nuska {__version__}\n" in said
    assert f"listening on  {server.url}\n" in said
    assert f"data          {tmp_path}\n" in said
    assert re.search(r"durability +every acknowledged write .*synced", said)
    assert re.search(r"access +open: no authentication; only this machine", said)


def test_a_durability_that_is_demanded_is_promised_or_it_does_not_start(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "--require-durability", "fsync") as server:
        assert call(f"{server.url}/v2")[0] == 200
    for store, demand, why in (
        ("memory:", "fsync", "everything is gone when this process ends"),
        ("sqlite:", "majority", "every acknowledged write has been synced to disk"),
    ):
        code, said = fails(tmp_path, "--require-durability", demand, store=store)
        assert code == 1
        assert f"--require-durability {demand}: this store does not promise that" in said
        assert why in said


@pytest.mark.parametrize("over", ["tcp", "unix"])
def test_the_three_commands_it_shows_work_when_pasted(tmp_path: Path, over: str) -> None:
    assert shutil.which("curl"), "this test runs the banner's commands, which are for curl"
    listen = "127.0.0.1:0" if over == "tcp" else f"unix:{tmp_path}/socket"
    with ServerProcess(tmp_path / "data", listen=listen) as server:
        until(lambda: server.output.count("curl") == 3 and server.output.endswith("\n\n"))
        commands = re.findall(r"^  (curl .*)$", server.output, re.MULTILINE)
        said = [
            subprocess.run(["sh", "-c", command], capture_output=True, timeout=SOON, check=True)
            for command in commands
        ]
    posted, claimed, listed = (json.loads(result.stdout) for result in said)
    assert all(result.stdout.endswith(b"}\n") for result in said), "the next prompt stands alone"
    [href] = posted["resources"]
    assert claimed["messages"][0]["body"] == {"job": 17}
    assert claimed["messages"][0]["href"].startswith(f"{href}?claim_id=")
    assert listed["messages"][0]["id"] == claimed["messages"][0]["id"]


def test_only_its_owner_can_use_its_socket_file(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with ServerProcess(tmp_path / "data", listen=f"unix:{path}") as server:
        assert path.stat().st_mode & 0o777 == 0o600
        assert f"metrics       http://localhost/metrics on unix:{path}\n" in server.output
        assert server.terminate() == 0
    assert not path.exists()


def test_a_socket_file_left_by_a_killed_server_is_no_obstacle(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", listen=f"unix:{tmp_path}/socket") as server:
        server.kill()
        assert (tmp_path / "socket").exists()
        server.start()


def test_data_are_there_after_a_restart(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        messages = f"{server.url}/v2/queues/jobs/messages"
        assert call(messages, "POST", '{"messages": [{"body": "kept"}]}')[0] == 201
        assert server.terminate() == 0
        server.start()
        _, listed = call(f"{messages}?echo=true")
    assert [message["body"] for message in json.loads(listed)["messages"]] == ["kept"]


def test_a_memory_store_says_that_nothing_is_kept(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, store="memory:") as server:
        assert "everything is gone when the server stops" in server.output


def test_settings_come_from_flags_environment_and_file(tmp_path: Path) -> None:
    file = tmp_path / "nuska.toml"
    file.write_text("admin_mode = true\n[limits]\nmax_message_ttl = 7200\n")
    environment = {"NUSKA_CONFIG": str(file), "NUSKA_DEFAULT_MESSAGE_TTL": "120"}
    with ServerProcess(tmp_path / "data", environment=environment) as server:
        _, metadata = call(f"{server.url}/v2/queues/jobs")
        assert json.loads(metadata)["_default_message_ttl"] == 120
        assert call(f"{server.url}/v2/health", **{"X-Roles": "admin"})[0] == 200


# What keeps it from starting


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.org:0"])
def test_it_refuses_to_be_open_to_others(tmp_path: Path, address: str) -> None:
    code, said = fails(tmp_path / "data", listen=address)
    assert code == 1
    assert f"Refusing to listen on {address}" in said
    assert "--insecure-open" in said
    assert not (tmp_path / "data").exists()


def test_it_refuses_open_metrics_for_others_too(tmp_path: Path) -> None:
    code, said = fails(tmp_path, "--metrics", "0.0.0.0:0")
    assert code == 1
    assert "Refusing to listen on 0.0.0.0:0" in said


def test_an_address_of_another_machine_is_a_clear_sentence(tmp_path: Path) -> None:
    code, said = fails(tmp_path, "--insecure-open", listen="192.0.2.1:0")
    assert code == 1
    assert "annot listen on 192.0.2.1:0: this machine has no such address." in said


def test_a_port_in_use_is_a_clear_sentence(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "one") as server:
        code, said = fails(tmp_path / "two", listen=f"127.0.0.1:{server.port}")
    assert code == 1
    assert said.endswith("something else is listening there.\n")
    assert not (tmp_path / "two").exists()


def test_data_in_use_are_a_clear_sentence(tmp_path: Path) -> None:
    with ServerProcess(tmp_path):
        code, said = fails(tmp_path)
    assert code == 1
    assert "in use already, by another process" in said


def test_a_data_directory_that_cannot_be_is_a_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    code, said = fails(tmp_path / "file")
    assert code == 1
    assert str(tmp_path / "file") in said


def test_data_of_a_newer_release_are_left_alone_with_a_clear_sentence(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        server.terminate()
    connection = apsw.Connection(str(tmp_path / "nuska.db"))
    connection.pragma("user_version", 99)
    connection.close()
    code, said = fails(tmp_path)
    assert code == 1
    assert "newer release" in said


def test_an_unknown_store_is_a_clear_sentence(tmp_path: Path) -> None:
    code, said = fails(tmp_path, store="oracle://elsewhere")
    assert code == 1
    assert "No store is called 'oracle'; known are sqlite:, memory:, " in said


@pytest.mark.parametrize(
    ("arguments", "environment", "sentence"),
    [
        (["--lissten", "a"], {}, "--lissten"),
        (["--log-format", "xml"], {}, "--log-format: 'xml' is none of 'auto', 'human', 'json'"),
        (["surplus"], {}, "Too many arguments: 'surplus'."),
        (["--config", "/nonexistent"], {}, "/nonexistent: cannot be read"),
        ([], {"NUSKA_PROT": "80"}, "NUSKA_PROT: no such setting; perhaps NUSKA_PORT"),
    ],
)
def test_a_mistake_in_the_settings_is_a_clear_sentence(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], sentence: str
) -> None:
    code, said = fails(tmp_path, *arguments, environment=environment)
    assert code == 2
    assert sentence in said


def test_a_helper_that_waits_for_a_server_is_told_why_it_failed(tmp_path: Path) -> None:
    with (
        pytest.raises(ServerFailed, match="Refusing to listen"),
        ServerProcess(tmp_path, listen="0.0.0.0:0"),
    ):
        pass


# Stopping


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_a_request_lets_it_finish(tmp_path: Path, number: int) -> None:
    with ServerProcess(tmp_path) as server, connect(server) as client:
        client.sendall(HALF_A_POST)
        until(lambda: b"nuska_requests_running 2.0" in call(f"{server.url}/metrics")[1])
        server.signal(number)
        until(lambda: "Stopping" in server.output)
        with pytest.raises(ConnectionRefusedError):
            connect(server)
        client.sendall(POST[10:])
        answer = read_to_end(client)
        assert server.wait() == 0
        assert answer.startswith(b"HTTP/1.1 201 ")
        assert b"connection: close\r\n" in answer
        server.start()
        _, listed = call(f"{server.url}/v2/queues/jobs/messages?echo=true")
    assert [message["body"] for message in json.loads(listed)["messages"]] == ["stopped"]


def test_a_signal_ends_long_polls_with_what_they_have(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server, connect(server) as client:
        head = f"POST /v2/queues/jobs/claims?wait=30 HTTP/1.1\r\nClient-ID: {CLIENT}\r\n"
        client.sendall(head.encode() + b"Host: localhost\r\nX-Project-Id: p\r\n\r\n")
        until(lambda: b"nuska_waiters 1.0" in call(f"{server.url}/metrics")[1])
        began = time.monotonic()
        assert server.terminate() == 0
        assert time.monotonic() - began < 10
        assert read_to_end(client).startswith(b"HTTP/1.1 204 ")


def test_a_request_that_does_not_end_is_cut_off_within_the_bound(tmp_path: Path) -> None:
    environment = {"NUSKA_STOP_TIMEOUT": "0.3"}
    with ServerProcess(tmp_path, environment=environment) as server, connect(server) as client:
        client.sendall(HALF_A_POST)
        until(lambda: b"nuska_requests_running 2.0" in call(f"{server.url}/metrics")[1])
        assert server.terminate() == 0
        assert "cut off" in server.output
        assert read_to_end(client) == b""


def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    environment = {"NUSKA_STOP_TIMEOUT": "600"}
    with ServerProcess(tmp_path, environment=environment) as server, connect(server) as client:
        client.sendall(HALF_A_POST)
        until(lambda: b"nuska_requests_running 2.0" in call(f"{server.url}/metrics")[1])
        server.signal(signal.SIGTERM)
        until(lambda: "Stopping" in server.output)
        assert server.running
        assert server.terminate(SOON) == 128 + signal.SIGTERM


# Metrics and logs


def test_metrics_count_by_route(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        for name in ("one", "two"):
            call(f"{server.url}/v2/queues/{name}", "PUT")
        call(f"{server.url}/v2/nothing")
        status, text = call(f"{server.url}/metrics")
    assert status == 200
    lines = text.decode().splitlines()
    route = 'method="PUT",route="/v2/queues/{queue_name}"'
    assert f'nuska_requests_total{{{route},status="201"}} 2.0' in lines
    assert f"nuska_request_seconds_count{{{route}}} 2.0" in lines
    assert f'nuska_request_seconds_bucket{{le="+Inf",{route}}} 2.0' in lines
    assert any(line.startswith("nuska_store_commits_total ") for line in lines)
    [resident] = [line for line in lines if line.startswith("nuska_resident_bytes ")]
    assert float(resident.split()[1]) > 1_000_000


def test_metrics_can_be_turned_off(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "--metrics", "off") as server:
        assert call(f"{server.url}/metrics")[0] == 404
        assert not re.search("^  metrics", server.output, re.MULTILINE)


def test_metrics_can_be_had_apart(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "--metrics", "127.0.0.1:0") as server:
        [address] = re.findall(r"metrics +(\S+)", server.output)
        assert call(f"{server.url}/metrics")[0] == 404
        assert call(address)[0] == 200
        assert call(address, "POST", "")[0] == 405
        assert call(address, Host="evil.example")[0] == 403
        assert call(address.removesuffix("/metrics") + "/v2")[0] == 404


def test_the_access_log_has_the_request_id_and_no_credentials(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "--access-log") as server:
        request = urllib.request.Request(
            f"{server.url}/v2/queues/jobs?x=%0Ay", headers=WHO | {"X-Auth-Token": "very-secret"}
        )
        with urllib.request.urlopen(request, timeout=SOON) as answer:
            request_id = answer.headers["X-OpenStack-Request-ID"]
        until(lambda: '"request"' in server.output)
        said = server.output
    [line] = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert line["request_id"] == request_id
    assert (line["method"], line["path"], line["query"]) == ("GET", "/v2/queues/jobs", "x=%0Ay")
    assert line["status"] == 200
    assert line["client"] == "127.0.0.1"
    assert "very-secret" not in said


def test_without_an_access_log_requests_leave_no_line(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        call(f"{server.url}/v2/queues/jobs")
        assert server.terminate() == 0
    assert not [line for line in server.output.splitlines() if line.startswith("{")]


# Several processes


@pytest.mark.parametrize("store", ["sqlite:", "memory:"])
@pytest.mark.parametrize("arguments", [("--workers", "2"), ("--role", "api"), ("--role=delivery",)])
def test_a_store_with_one_owner_is_not_shared_and_says_what_to_do(
    tmp_path: Path, store: str, arguments: tuple[str, ...]
) -> None:
    code, said = fails(tmp_path, *arguments, "--metrics", "off", store=store)
    assert code == 1
    assert "this store belongs to one process at a time" in said
    assert "keep messages in a store that processes share" in said


def test_workers_without_clients_are_a_mistake(tmp_path: Path) -> None:
    code, said = fails(tmp_path, "--role", "delivery", "--workers", "2")
    assert code == 2
    assert "workers serve clients" in said


def test_certificates_that_cannot_be_used_are_said_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("nothing of the kind")
    environment = {"NUSKA_TRUSTED_CA_FILE": str(file)}
    with (
        pytest.raises(ServerFailed, match="trusted_ca_file"),
        ServerProcess(tmp_path / "data", environment=environment),
    ):
        pass


def test_an_operator_hears_once_that_mail_is_half_set_up(tmp_path: Path) -> None:
    sentence = "Subscribers by mail cannot be asked to confirm: "
    half = {"NUSKA_SMTP_MODE": "third_part"}
    with ServerProcess(tmp_path, store="memory:", environment=half) as server:
        assert server.output.count(f"{sentence}the server does not know its public_url.") == 1
    with ServerProcess(tmp_path, store="memory:") as server:
        assert sentence not in server.output
