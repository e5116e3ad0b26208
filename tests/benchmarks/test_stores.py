"""The harness of shared stores, small: its raw clients do what Nuska does, and it tells the
limits apart."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.__main__ import TRAVERSABLE
from benchmarks.filling import small, wall_clock
from benchmarks.rounds import Patience
from benchmarks.stores.bench import StoreBench
from benchmarks.stores.engine import ENGINES, RAW_QUEUE, Engine, starter
from benchmarks.stores.loads import STORE, limit, shares
from benchmarks.stores.phases import PHASES
from benchmarks.stores.sides import OPERATIONS, ByApi, ByClient
from benchmarks.wire import Connection
from benchmarks.wrk import Load, Report, Target, run_together

from benchmarks import servers
from nuska.interfaces.storage import Store

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=sorted(ENGINES))
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Not below ``tmp_path``, which a server that runs as another user cannot reach."""
    with tempfile.TemporaryDirectory(prefix="nuska-bench-") as directory:
        Path(directory).chmod(TRAVERSABLE)
        with starter(request.param)(Path(directory) / request.param) as running:
            yield running


@pytest.fixture
def bench(engine: Engine, tmp_path: Path) -> Iterator[StoreBench]:
    bench = StoreBench(
        tmp_path, "store", engine, quick=True, patience=Patience(0), say=lambda _: None
    )
    yield bench
    bench.close()


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


def test_a_raw_client_claims_the_oldest_and_what_it_deletes_is_gone(bench: StoreBench) -> None:
    async def scenario() -> tuple[list[object], list[object], list[object]]:
        raw = await bench.engine.raw("raw")
        try:
            posted = [*await raw.post([small()]), *await raw.post([small()] * 3)]
            await raw.delete(posted[:1])
            claimed = await raw.claim(2)
            await raw.delete(claimed)
            return posted, claimed, await raw.claim(10)
        finally:
            await raw.close()

    posted, claimed, rest = bench.run(scenario())
    assert claimed == posted[1:3]
    assert rest == posted[3:]


def test_both_sides_of_a_comparison_do_every_operation(bench: StoreBench) -> None:
    clients = [bench.run(bench.engine.raw(name)) for name in ("raw-turns", "raw-kept")]
    with bench.nodes("node") as [node], Connection(node.port) as connection:
        sides = [ByApi(connection), ByClient(*clients, bench.run)]
        for side in sides:
            side.block()
    for client in clients:
        bench.run(client.close())
    for side in sides:
        counts = {name: len(taken) for name, taken in side.taken.items()}
        assert set(counts) == set(OPERATIONS)
        assert len(set(counts.values())) == 1


def test_a_store_of_its_own_is_empty_and_says_what_it_holds(bench: StoreBench) -> None:
    async def fill(store: Store) -> None:
        await store.messages.add(RAW_QUEUE, [small()] * 100, now=wall_clock())

    url, held = bench.filled("one", fill)
    other, _ = bench.filled("other", fill)
    assert url != other
    assert held.memory + held.disk >= 0
    assert bench.engine.pids()
    assert bench.engine.about
    assert all(count >= 0 for count in bench.run(bench.engine.steps()).values())


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


@pytest.mark.slow
def test_a_quick_run_measures_a_phase_and_writes_what_it_found(tmp_path: Path) -> None:
    arguments = ("--store", "redis", "--quick", "--only", "latency,queues", "--patience", "0")
    ended = harness(*arguments, "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out"))
    assert ended.returncode in (0, 1), ended.stdout + ended.stderr
    run = json.loads((tmp_path / "out" / "store-redis.json").read_text())
    assert run["store"] == "redis"
    assert {figure["phase"] for figure in run["figures"]} == {"latency", "queues"}
    assert run["costs"]["queue_disk_bytes"] > 0
    assert (tmp_path / "out" / "store-redis-curves.svg").read_text().startswith("<svg")
    assert list((tmp_path / "work").glob("run-*")) == []
