"""The small examples do what their README says."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from math import prod
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

Run = Callable[..., str]
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
EXPLAINED = {path.parent.name for path in EXAMPLES.glob("*/README.md")}
RUNNABLE = {path.parent.name for path in EXAMPLES.glob("*/example.py")}


def test_work_queue_tells_the_sender_of_every_finished_job(run: Run) -> None:
    printed = run("work-queue/example.py")
    told = re.findall(r"^([0-9a-f]+): (\d+) = ([\d × ]+)$", printed, re.MULTILINE)
    assert len({job for job, _, _ in told}) == len(told) == 60
    assert all(int(number) == prod(map(int, found.split(" × "))) for _, number, found in told)
    assert "60 jobs finished" in printed


def test_self_healing_repairs_what_it_can_and_calls_for_help_with_the_rest(run: Run) -> None:
    printed = run("self-healing/example.py")
    assert printed.count("not repaired: printer") >= 3
    assert "mail: ok" in printed
    assert "somebody has to look at: printer" in printed


def test_pipeline_counts_right_though_a_stage_fails_at_times(run: Run) -> None:
    printed = run("pipeline/example.py")
    assert re.search(r"^ *120 a$", printed, re.MULTILINE)
    assert "680 words of 40 texts" in printed


def test_intercloud_forwards_in_order_what_was_posted_while_the_other_site_was_away(
    run: Run,
) -> None:
    printed = run("intercloud/example.py")
    assert "West has [{'order': 1}, {'order': 2}, {'order': 3}]" in printed


def test_climate_says_in_one_line_that_its_port_is_taken_and_how_to_choose_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as occupant:
        port = occupant.getsockname()[1]
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / "climate" / "example.py"), "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith(f"Port {port} is taken. ")
    assert f"ARGS='--port {port + 1}'" in done.stderr


def test_every_example_is_explained_and_runs_by_name() -> None:
    assert EXPLAINED == RUNNABLE


def test_an_example_brings_a_server_unless_one_is_named() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "NUSKA_URL"}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "run"), "pipeline"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "680 words" in done.stdout
    unknown = subprocess.run(
        [sys.executable, str(EXAMPLES / "run"), "nothing"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert unknown.returncode == 2
    assert "climate" in unknown.stderr
