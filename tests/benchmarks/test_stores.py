"""The harness of shared stores, small: its raw clients do what Nuska does, and it tells the
limits apart."""

import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.stores.loads import STORE, limit, shares
from benchmarks.stores.phases import PHASES
from benchmarks.wire import Connection
from benchmarks.wrk import Load, Report, Target, run_together

from benchmarks import servers

ROOT = Path(__file__).resolve().parents[2]


def harness(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "benchmarks.stores", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )


def test_a_store_that_does_not_exist_is_named() -> None:
    ended = harness("--store", "nonsense")
    assert ended.returncode == 2
    assert "nonsense" in ended.stderr


def test_a_phase_that_does_not_exist_is_named() -> None:
    ended = harness("--store", "redis", "--only", "latency,nonsense")
    assert ended.returncode == 2
    assert "nonsense" in ended.stderr


def test_every_phase_says_what_it_measures() -> None:
    assert [name for name, phase in PHASES.items() if not phase.__doc__] == []


def test_posters_of_several_nodes_are_added_up_and_told_apart(tmp_path: Path) -> None:
    with (
        servers.nuska(tmp_path / "one", name="one") as one,
        servers.nuska(tmp_path / "two", name="two") as two,
    ):
        targets = [Target(f"{node.url}/v2/queues/q", 2, (1, 0, 2)) for node in (one, two)]
        watched = {node.name: (lambda node=node: node.pids) for node in (one, two)}
        load = run_together("spread", targets, watched=watched, seconds=1)
        posted = 0
        for node in (one, two):
            with Connection(node.port) as connection:
                for number in (0, 1):
                    stats = connection.must("GET", f"/v2/queues/q-{number}/stats").json()
                    assert stats["messages"]["total"] > 0
                    posted += stats["messages"]["total"]
    assert load.report.requests <= posted <= load.report.requests + 4
    assert set(load.cores) == {"one", "two"}
    assert load.server_cores == pytest.approx(sum(load.cores.values()))


def load(*, node: float, store: float, wrk: float = 0.1, others: float = 0.0) -> Load:
    report = Report(1000, 1_000_000, 0, 0, 0, 0, 0, 1, 2, 3)
    return Load(
        report=report,
        server_cores=node + store,
        wrk_cores=wrk,
        other_cores=others,
        cores={"node": node, STORE: store},
    )


def test_the_limit_is_the_process_that_fills_its_core() -> None:
    assert "node at a core" in limit([load(node=0.97, store=0.3)], 2, one_thread=["node"])


def test_the_limit_is_the_machine_when_no_process_fills_a_core() -> None:
    found = limit([load(node=0.8, store=1.0)], 2, one_thread=["node"])
    assert found == "all 2 cores, most of it store"


def test_no_limit_is_named_when_others_used_the_machine() -> None:
    assert "of no use" in limit([load(node=0.5, store=0.5, others=1.0)], 2, one_thread=["node"])


def test_the_limit_is_waiting_when_everybody_has_time() -> None:
    assert "waiting" in limit([load(node=0.3, store=0.2)], 2, one_thread=["node", STORE])


def test_the_cores_that_others_used_are_told_when_they_are_many() -> None:
    assert "others" not in shares([load(node=0.5, store=0.5)])
    assert "others 0.90" in shares([load(node=0.5, store=0.5, others=0.9)])


def test_cpu_time_of_a_request_is_the_servers_share_of_the_time() -> None:
    assert load(node=0.5, store=0.2).micros_per_request("node") == pytest.approx(500)
