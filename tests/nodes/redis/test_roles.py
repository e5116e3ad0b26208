"""Nodes that serve clients, and nodes that do what nobody asked for."""

import re
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from nuska.testing.server_process import ServerProcess

CLIENT = "3381af92-2b9e-11e3-b191-71861300734c"
SOON = 20.0


def get(url: str) -> tuple[int, str]:
    request = urllib.request.Request(url, headers={"Client-ID": CLIENT, "X-Project-Id": "p"})
    try:
        with urllib.request.urlopen(request, timeout=SOON) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def number(text: str, name: str) -> float:
    [found] = re.findall(rf"^{name} (\S+)$", text, re.MULTILINE)
    return float(found)


def test_a_node_for_clients_leaves_the_sweeping_to_others(tmp_path: Path, url: str) -> None:
    with ServerProcess(tmp_path, "--role", "api", store=url) as server:
        assert "  role          api: what is over is cleared away by other nodes\n" in server.output
        assert get(f"{server.url}/v2/queues")[0] == 200
        assert number(get(f"{server.url}/metrics")[1], "nuska_sweep_steps_total") == 0


def test_a_node_for_background_work_sweeps_and_shows_signs_of_life_only(
    tmp_path: Path, url: str
) -> None:
    arguments = ("--role", "delivery", "--metrics", "127.0.0.1:0")
    with ServerProcess(tmp_path, *arguments, store=url) as server:
        assert "listening on" not in server.output
        assert "curl" not in server.output
        [metrics] = re.findall(r"metrics +(\S+)", server.output)
        apart = metrics.removesuffix("/metrics")
        assert get(f"{apart}/v2/ping") == (204, "")
        assert get(f"{apart}/v2/queues")[0] == 404
        while number(get(metrics)[1], "nuska_sweep_steps_total") < 2:
            time.sleep(0.1)
        assert server.terminate() == 0


@pytest.mark.parametrize("metrics", ["path", "off"])
def test_a_node_for_background_work_needs_no_address_at_all(
    tmp_path: Path, url: str, metrics: str
) -> None:
    with ServerProcess(tmp_path, "--role", "delivery", "--metrics", metrics, store=url) as server:
        assert "http://" not in server.output
        assert server.terminate() == 0
