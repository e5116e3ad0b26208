"""The harness on Redis, and a run of it from end to end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.hearing import EVERYTHING, measured
from benchmarks.stores.conformance import EngineTests

from nuska.testing.redis_server import IN_MEMORY, redis_server

ROOT = Path(__file__).resolve().parents[2]


class TestRedis(EngineTests):
    STORE = "redis"


@pytest.mark.parametrize("wanted", [EVERYTHING, 10, 0])
def test_what_hints_cost_is_measured_until_all_is_heard(wanted: int, tmp_path: Path) -> None:
    with redis_server(tmp_path, IN_MEMORY) as server:
        assert measured(server, wanted, 2000).teller > 0


@pytest.mark.slow
def test_a_quick_run_measures_a_phase_and_writes_what_it_found(tmp_path: Path) -> None:
    arguments = ("--store", "redis", "--quick", "--only", "latency,queues", "--patience", "0")
    places = ("--work", str(tmp_path / "work"), "--out", str(tmp_path / "out"))
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.stores", *arguments, *places],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ended.returncode in (0, 1), ended.stdout + ended.stderr
    run = json.loads((tmp_path / "out" / "store-redis.json").read_text())
    assert run["store"] == "redis"
    assert {figure["phase"] for figure in run["figures"]} == {"latency", "queues"}
    assert run["costs"]["queue_disk_bytes"] > 0
    assert (tmp_path / "out" / "store-redis-curves.svg").read_text().startswith("<svg")
    assert list((tmp_path / "work").glob("run-*")) == []
