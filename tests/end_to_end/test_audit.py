"""The audit log says who did what, from where, and with which outcome; and no log has a secret."""

import http.client
import json
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from nuska.testing.server_process import ServerProcess

SOON = 20.0
SIGNING_KEY = "signing-key-that-nobody-may-see-4711"
SMTP_PASSWORD = "smtp-password-that-nobody-may-see-0815"


@dataclass(frozen=True)
class Audited:
    server: ServerProcess
    log: Path
    key: str

    def call(self, method: str, path: str, key: str | None, body: Any = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=SOON)
        try:
            headers = {"Client-ID": str(uuid.uuid4())} | ({"X-Auth-Token": key} if key else {})
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            data = answer.read()
            return answer.status, json.loads(data) if data else None
        finally:
            connection.close()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    data = tmp_path_factory.mktemp("data")
    made = subprocess.run(
        [
            *(sys.executable, "-m", "nuska", "key", "create", "--in-store", "--data", str(data)),
            *("--project", "shop", "--role", "admin", "--role", "member"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    log = data / "audit.log"
    environment = {
        "NUSKA_AUDIT_LOG": str(log),
        "NUSKA_SIGNING_KEY": SIGNING_KEY,
        "NUSKA_SMTP_MODE": "self_local",
        "NUSKA_SMTP_HOST": "127.0.0.1",
        "NUSKA_SMTP_USER_NAME": "nuska",
        "NUSKA_SMTP_USER_PASSWORD": SMTP_PASSWORD,
    }
    arguments = ("--auth", "keys", "--access-log", "--log-level", "debug")
    with ServerProcess(data, *arguments, environment=environment) as server:
        yield Audited(server, log, made.stdout.strip())


def test_changes_are_written_down(audited: Audited) -> None:
    assert audited.call("PUT", "/v2/queues/audited?secret=value", audited.key)[0] == 201
    line = audited.lines()[-1]
    assert (line["outcome"], line["status"], line["action"]) == ("done", 201, "queues:create")
    assert (line["method"], line["target"]) == ("PUT", "/v2/queues/audited")
    assert (line["project"], line["from"]) == ("shop", "127.0.0.1")
    assert line["credential"] == f"key:{audited.key.split('_')[1]}"
    assert line["request_id"].startswith("req-")


def test_refusals_are_written_down(audited: Audited) -> None:
    assert audited.call("GET", "/v2/queues", "nuska_0000000000000000_" + "0" * 64)[0] == 401
    line = audited.lines()[-1]
    assert (line["outcome"], line["status"]) == ("refused", 401)
    assert "project" not in line
    _, made = audited.call("POST", "/v2/keys", audited.key, {"roles": ["reader"]})
    assert audited.call("DELETE", "/v2/queues/audited", made["key"])[0] == 403
    line = audited.lines()[-1]
    assert (line["outcome"], line["action"]) == ("refused", "queues:delete")
    assert line["credential"] == f"key:{made['id']}"


def test_reads_and_messages_are_not_written_down(audited: Audited) -> None:
    before = len(audited.lines())
    assert audited.call("GET", "/v2/queues", audited.key)[0] == 200
    document = {"messages": [{"body": "body-of-a-message"}]}
    assert audited.call("POST", "/v2/queues/audited/messages", audited.key, document)[0] == 201
    assert len(audited.lines()) == before


def test_what_is_done_on_a_websocket_is_written_down(audited: Audited) -> None:
    headers = {"X-Project-ID": "shop", "Client-ID": str(uuid.uuid4())}
    with connect(f"ws://127.0.0.1:{audited.server.port}/v2", open_timeout=SOON) as socket:

        def ask(action: str, body: dict[str, str], **more: str) -> int:
            socket.send(json.dumps({"action": action, "headers": headers | more, "body": body}))
            return int(json.loads(socket.recv(timeout=SOON))["headers"]["status"])

        assert ask("queue_create", {"queue_name": "by-socket"}) == 403
        assert audited.lines()[-1]["outcome"] == "refused"
        assert ask("authenticate", {}, **{"X-Auth-Token": audited.key}) == 200
        assert ask("queue_create", {"queue_name": "by-socket"}) == 201
    line = audited.lines()[-1]
    assert (line["outcome"], line["action"]) == ("done", "queues:create")
    assert (line["target"], line["project"]) == ("queue_create by-socket", "shop")


def test_a_log_that_was_moved_away_is_begun_anew(audited: Audited) -> None:
    audited.log.rename(audited.log.with_suffix(".1"))
    assert audited.call("PUT", "/v2/queues/after-the-move", audited.key)[0] == 201
    assert [line["target"] for line in audited.lines()] == ["/v2/queues/after-the-move"]
    assert audited.log.with_suffix(".1").stat().st_mode & 0o077 == 0


def scraped(audited: Audited, headers: dict[str, str]) -> bytes:
    url = f"http://127.0.0.1:{audited.server.port}/metrics"
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=SOON) as answer:
        found: bytes = answer.read()
        return found


def test_metrics_are_for_operators_who_prove_who_they_are(audited: Audited) -> None:
    _, made = audited.call("POST", "/v2/keys", audited.key, {"roles": ["member"]})
    for headers, status in (
        ({}, 401),
        ({"X-Roles": "admin"}, 401),
        ({"X-Auth-Token": made["key"]}, 403),
    ):
        with pytest.raises(urllib.error.HTTPError) as caught:
            scraped(audited, headers)
        with caught.value as refusal:
            assert refusal.code == status
    assert b"nuska_" in scraped(audited, {"X-Auth-Token": audited.key})


def said_on_a_websocket(audited: Audited, shared: dict[str, Any], other_key: str) -> list[Any]:
    """The answers to good and bad credentials, each where it belongs and where it does not."""
    headers = {"X-Project-ID": "shop", "Client-ID": str(uuid.uuid4())}
    signed = {
        "URL-Signature": shared["signature"],
        "URL-Expires": shared["expires"],
        "URL-Methods": shared["methods"],
        "URL-Paths": shared["paths"],
    }
    answers = []
    with connect(f"ws://127.0.0.1:{audited.server.port}/v2", open_timeout=SOON) as socket:
        for action, more in (
            ("message_list", signed),
            ("message_post", signed),
            ("authenticate", {"X-Auth-Token": other_key + "0"}),
            ("authenticate", {"X-Api-Key": other_key, "X-Auth-Token": audited.key}),
            ("authenticate", {"X-Auth-Token": other_key, "X-Project-ID": "bank"}),
            ("queue_list", {"X-Auth-Token": audited.key, "X-Api-Key": audited.key}),
            ("authenticate", {"X-Auth-Token": audited.key}),
            ("queue_list", {"X-Auth-Token": audited.key}),
        ):
            body = {"queue_name": "jobs", "messages": []}
            request = {"action": action, "headers": headers | more, "body": body}
            socket.send(json.dumps(request))
            answers.append(json.loads(socket.recv(timeout=SOON)))
    assert shared["signature"] not in json.dumps(answers)
    assert [answer["headers"]["status"] for answer in answers[-2:]] == [200, 200]
    return answers


def test_no_secret_is_in_logs_errors_metrics_or_process_titles(audited: Audited) -> None:
    """Every secret of a run, and every place where one could turn up."""
    _, made = audited.call("POST", "/v2/keys", audited.key, {"name": "one more"})
    hook_secret = "whsec_" + "c2VjcmV0LW9mLWEtaG9vay10aGF0LWlzLWxvbmc="
    hook = {
        "subscriber": "http://127.0.0.1:18080/in",
        "options": {"signing_secrets": [hook_secret], "post_headers": {"X-Token": "hook-header"}},
    }
    answers = [audited.call("POST", "/v2/queues/jobs/subscriptions", audited.key, hook)]
    _, shared = audited.call("POST", "/v2/queues/jobs/share", audited.key, {"methods": ["GET"]})
    signed = shared["signature"]
    link = (
        f"/v2/queues/jobs/messages?signature={signed}&expires={shared['expires']}"
        f"&methods=GET&paths={shared['paths'][0]}&project=shop"
    )
    answers += [
        audited.call("GET", "/v2/queues/jobs/subscriptions", audited.key),
        audited.call("GET", "/v2/keys", audited.key),
        audited.call("GET", f"/v2/keys/{made['id']}", audited.key),
        audited.call("GET", link, None),
        audited.call("GET", link.replace("GET", "POST"), None),
        audited.call("GET", "/v2/queues", made["key"] + "0"),
        audited.call("POST", "/v2/queues/jobs/messages", made["key"], {"messages": "none"}),
    ]
    answers += said_on_a_websocket(audited, shared, made["key"])
    metrics = scraped(audited, {"Authorization": f"Bearer {audited.key}"})
    proc = Path(f"/proc/{audited.server.pid}")
    title = (proc / "cmdline").read_bytes() + (proc / "comm").read_bytes()
    logs = [path.read_text() for path in audited.log.parent.glob("audit.*")]
    told = "\n".join(
        [audited.server.output, *logs, metrics.decode(), title.decode(), json.dumps(answers)]
    )
    for secret in (
        audited.key.rpartition("_")[2],
        made["key"].rpartition("_")[2],
        hook_secret,
        SIGNING_KEY,
        SMTP_PASSWORD,
    ):
        assert secret not in told
    for shown_to_their_owner in (signed, "hook-header"):
        assert shown_to_their_owner not in "\n".join(
            [audited.server.output, *logs, metrics.decode()]
        )
