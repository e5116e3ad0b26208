"""The harness itself, small: it measures the real server and says so."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.cycle import Cycle, in_turns
from benchmarks.filling import by_api
from benchmarks.phases import PHASES
from benchmarks.phases.throughput import stored
from benchmarks.wire import Connection, Refused
from benchmarks.wrk import SCRIPTS

from benchmarks import servers

ROOT = Path(__file__).resolve().parents[2]


def harness(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )


def test_a_phase_that_does_not_exist_is_named() -> None:
    ended = harness("--only", "post,nonsense")
    assert ended.returncode == 2
    assert "nonsense" in ended.stderr


def test_every_phase_says_what_it_measures() -> None:
    assert [name for name, phase in PHASES.items() if not phase.__doc__] == []


def test_every_script_reports_alike() -> None:
    scripts = [path for path in SCRIPTS.glob("*.lua") if path.name != "report.lua"]
    assert scripts
    assert [path.name for path in scripts if "report.lua" not in path.read_text()] == []


def test_a_turn_of_a_client_leaves_the_queue_as_deep_as_it_was(tmp_path: Path) -> None:
    with servers.nuska(tmp_path / "data") as server, Connection(server.port) as connection:
        by_api(server.port, "jobs", 25, batch=10)
        cycle = Cycle(connection, "jobs")
        in_turns([cycle.turn], rounds=5)
        assert stored(server, "jobs") == 25
        assert {name: len(taken) for name, taken in cycle.taken.items()} == {
            "post": 5,
            "list": 5,
            "claim": 5,
        }


def test_a_refusal_is_never_timed_as_a_success(tmp_path: Path) -> None:
    with (
        servers.nuska(tmp_path / "data") as server,
        Connection(server.port) as connection,
        pytest.raises(Refused, match="400"),
    ):
        Cycle(connection, "jobs", claim_size=21).turn()


def test_the_yardsticks_answer_in_the_shape_of_a_post(tmp_path: Path) -> None:
    document = {"messages": [{"body": 1}, {"body": 2}]}
    answers = {}
    with servers.bare(tmp_path) as bare, servers.canned(tmp_path, count=2) as canned:
        for server in (bare, canned):
            with Connection(server.port) as connection:
                answer = connection.must("POST", "/v2/queues/jobs/messages", document)
                assert answer.status == 201
                answers[server.name] = answer.json()
    assert [len(answer["resources"]) for answer in answers.values()] == [2, 2]


@pytest.mark.slow
def test_a_quick_run_measures_a_phase_and_writes_what_it_found(tmp_path: Path) -> None:
    arguments = ("--quick", "--only", "wake", "--patience", "0")
    ended = harness(*arguments, "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out"))
    assert ended.returncode in (0, 1), ended.stdout + ended.stderr
    (figure,) = json.loads((tmp_path / "out" / "bench.json").read_text())["figures"]
    assert figure["unit"] == "ms"
    assert figure["value"] > 0
    assert figure["name"] in ended.stdout
    assert (tmp_path / "out" / "bench.svg").read_text().startswith("<svg")
    assert list((tmp_path / "work").glob("run-*")) == []
