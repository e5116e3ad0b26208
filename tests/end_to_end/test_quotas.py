"""Quotas on the real server: settings, refusals, metrics, and what is kept over a restart."""

import http.client
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nuska.testing.server_process import ServerProcess

SOON = 20.0
LIMITS = {
    "NUSKA_QUOTA_REQUESTS_PER_SECOND": "1000",
    "NUSKA_QUOTA_MESSAGES_PER_SECOND": "3",
    "NUSKA_MAIL_PER_DAY": "7",
    "NUSKA_MAX_LISTENERS_PER_PROJECT": "11",
    "NUSKA_MAX_WEBSOCKETS_PER_PROJECT": "13",
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path, "--admin-mode", environment=LIMITS) as running:
        yield running


def ask(
    server: ServerProcess, method: str, path: str, body: object = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SOON)
    try:
        text = None if body is None else json.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"Client-ID": str(uuid.uuid4()), "X-Project-Id": "shop", **named}
        connection.request(method, path, text, sent)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def quota(server: ServerProcess, project: str = "shop") -> Any:
    return json.loads(ask(server, "GET", f"/v2/quotas/{project}", X_Roles="admin")[2])


def test_settings_hold_for_all_and_what_is_said_about_one_outlives_a_restart(
    server: ServerProcess,
) -> None:
    limits = quota(server)["limits"]
    assert limits == {
        **dict.fromkeys(limits),
        "requests_per_second": 1000,
        "messages_per_second": 3,
        "mails_per_day": 7,
        "listeners": 11,
        "connections": 13,
    }
    said = {"messages_per_second": 2, "listeners": None}
    assert ask(server, "PUT", "/v2/quotas/shop", said, X_Roles="admin")[0] == 200
    assert server.terminate() == 0
    server.start()
    shown = quota(server)
    assert shown["overrides"] == said
    assert (shown["limits"]["messages_per_second"], shown["limits"]["listeners"]) == (2, None)
    assert quota(server, "other")["limits"]["messages_per_second"] == 3


def test_a_refusal_is_answered_counted_and_no_alarm(server: ServerProcess) -> None:
    path, post = "/v2/queues/jobs/messages", {"messages": [{"body": 1}] * 3}
    assert ask(server, "POST", path, post)[0] == 201
    status, headers, body = ask(server, "POST", path, post)
    assert (status, int(headers["retry-after"]) >= 1) == (503, True)
    assert b"messages_per_second is limited to 3" in body
    metrics = ask(server, "GET", "/metrics")[2].decode()
    for line in (
        'nuska_quota_refused_total{limit="messages_per_second",project="shop"} 1.0',
        'nuska_quota_refused_total{limit="messages",project=""} 0.0',
        'nuska_quota_limit{limit="messages_per_second",project=""} 3.0',
    ):
        assert line in metrics
    assert "too fast" not in server.output


def test_metrics_say_what_a_project_had_when_it_was_measured(server: ServerProcess) -> None:
    path, post = "/v2/queues/jobs/messages", {"messages": [{"body": 1}] * 3}
    assert ask(server, "POST", path, post)[0] == 201
    status, _, body = ask(server, "PUT", "/v2/quotas/shop", {"messages": 50}, X_Roles="admin")
    assert (status, json.loads(body)["use"]["messages"]) == (200, 3)
    metrics = ask(server, "GET", "/metrics")[2].decode()
    assert 'nuska_quota_used{limit="messages",project="shop"} 3.0' in metrics
    assert 'nuska_quota_used_age_seconds{limit="messages",project="shop"}' in metrics
    assert 'nuska_quota_used{limit="bytes"' not in metrics
