"""The reckoning multiplies what was measured, refuses to guess, and says what is short first."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from benchmarks.machine import Machine
from benchmarks.scale.__main__ import BATCHES, BEGIN, END, read_runs, replaced
from benchmarks.scale.page import NOTHING, measured, page
from benchmarks.scale.reckoning import MEASURED_BODY, Unmeasured, most, reckon
from benchmarks.scale.wanted import Wanted
from benchmarks.stores.costs import Costs, Cpu
from benchmarks.stores.results import StoreRun
from msgspec.structs import replace

ROOT = Path(__file__).resolve().parents[2]

COSTS = Costs(
    post={1: Cpu(100, 50), 10: Cpu(200, 150)},
    work=Cpu(100, 50),
    empty_claim=Cpu(60, 30),
    waiter=Cpu(1, 2),
    waiter_bytes=20_000,
    heard=0.5,
    written={1: 600.0, 10: 300.0},
    message_disk_bytes=400.0,
    message_memory_bytes=0.0,
    queue_disk_bytes=1400.0,
    queue_memory_bytes=0.0,
)
WANTED = Wanted(
    queues=1000,
    messages_per_second=10_000,
    devices=30_000,
    waiting_per_queue=10,
    body_bytes=MEASURED_BODY,
    renewed_every=30,
)


def run_with(costs: Costs) -> StoreRun:
    machine = Machine(
        cpu="a CPU",
        cores=2,
        memory_gb=8.0,
        kernel="6.1",
        python="3.11.7",
        filesystem="ext4",
        sync_p50_ms=0.1,
        sync_p99_ms=0.2,
        load=0.0,
    )
    return StoreRun(
        title="t",
        began=datetime(2026, 11, 22, tzinfo=UTC),
        seconds=1.0,
        quick=True,
        machine=machine,
        about=["a store"],
        figures=[],
        store="redis",
        costs=costs,
        curves=[],
    )


def test_a_page_says_which_run_was_rough() -> None:
    text = page({"redis": run_with(COSTS)}, WANTED, BATCHES)
    assert "a quick run, so rough" in text
    assert "| **pools** |" in text


def test_cpu_is_that_of_messages_of_waiters_and_of_their_coming_again() -> None:
    found = reckon("postgresql", COSTS, WANTED)
    messages = 10_000 * (100 + 2 * 100 / 10)
    assert found.node_cores == pytest.approx((messages + 30_000 * 1 + 1000 * 60) / 1e6)
    messages = 10_000 * (50 + 2 * 50 / 10)
    assert found.store_cores == pytest.approx((messages + 30_000 * 2 + 1000 * 30) / 1e6)


def test_a_batch_costs_each_message_its_share() -> None:
    single, batched = (reckon("postgresql", COSTS, replace(WANTED, batch=n)) for n in (1, 10))
    saved = 10_000 * (100 - 200 / 10) / 1e6
    assert single.node_cores - batched.node_cores == pytest.approx(saved)
    assert batched.disk_per_second == pytest.approx(10_000 * 300)


def test_room_is_that_of_queues_and_of_what_waits_in_them() -> None:
    found = reckon("postgresql", COSTS, WANTED)
    assert found.store_disk == pytest.approx(1000 * (1000 + 10 * 400))
    longer = reckon("postgresql", COSTS, replace(WANTED, body_bytes=MEASURED_BODY + 100))
    assert longer.store_disk - found.store_disk == pytest.approx(1000 * 10 * 100)
    assert found.store_memory == 0


def test_connections_decide_when_there_are_more_devices_than_work() -> None:
    found = reckon("postgresql", COSTS, replace(WANTED, devices=10_000_000, messages_per_second=1))
    assert most(found.node_needs) >= 1000


def test_a_store_of_one_core_needs_as_many_pools_as_cores() -> None:
    much = replace(WANTED, messages_per_second=1_000_000, devices=1)
    one, eight = (most(reckon(store, COSTS, much).pool_needs) for store in ("redis", "mongodb"))
    assert one == pytest.approx(8 * eight, abs=8)


def test_what_more_nodes_do_not_mend_is_short_first() -> None:
    loud = replace(COSTS, heard=100.0)
    found = reckon("redis", loud, WANTED)
    assert found.hearing.used > 1
    assert found.first is found.hearing


@pytest.mark.parametrize("name", ["work", "waiter", "empty_claim", "heard", "queue_disk_bytes"])
def test_a_cost_that_was_not_measured_is_named_and_not_guessed(name: str) -> None:
    with pytest.raises(Unmeasured, match=name):
        reckon("redis", replace(COSTS, **{name: None}), WANTED)


def test_a_batch_that_was_not_measured_is_refused() -> None:
    with pytest.raises(Unmeasured, match="post of 7"):
        reckon("redis", COSTS, replace(WANTED, batch=7))


def test_bytes_written_that_were_not_measured_are_not_guessed() -> None:
    with pytest.raises(Unmeasured, match="written"):
        reckon("redis", replace(COSTS, written={}), WANTED)


def test_a_page_shows_what_is_missing_as_missing() -> None:
    text = measured({"redis": run_with(Costs(post={1: Cpu(1, 2)}))})
    assert "| written to disk for a message, 1 in a post, bytes | – |" in text


def test_a_page_keeps_all_that_stands_outside_its_marks() -> None:
    document = f"before\n{BEGIN}old\n{END}after\n"
    assert replaced(document, "new\n") == f"before\n{BEGIN}\nnew\n\n{END}after\n"
    assert replaced(replaced(document, "new\n"), "new\n") == replaced(document, "new\n")
    with pytest.raises(SystemExit):
        replaced("no marks", "new\n")


def test_the_page_in_the_documentation_is_what_the_results_give() -> None:
    document = (ROOT / "docs" / "scale.md").read_text("utf-8")
    runs = read_runs(ROOT / "benchmarks" / "results")
    assert replaced(document, page(runs, Wanted(), BATCHES)) == document


def test_a_page_of_nothing_says_so() -> None:
    assert page({}, Wanted(), BATCHES) == NOTHING
