"""Runs wrk with one of the scripts beside this file and reads what it reports.

wrk shares the cores with the servers it loads; how much of them it took is part of every load.
Several of them may run at once, one for each node.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from benchmarks.processes import busy_seconds, cpu_seconds_by_process

SCRIPTS = Path(__file__).resolve().parent / "lua"

Pids = Callable[[], Sequence[int]]
"""The processes of a server now: some start and end them as connections come and go."""


class Report(Struct, frozen=True):
    """The line of JSON that ``lua/report.lua`` prints."""

    requests: int
    micros: int
    refused: int
    """Answers of 400 and above."""
    broken: int
    """Connections that failed to open, read or write."""
    timeouts: int
    claimed: int
    empty: int
    p50: int
    p99: int
    max: int


class Load(Struct, frozen=True, kw_only=True):
    """One run of wrk, or of several side by side."""

    report: Report
    server_cores: float
    """Cores that the measured servers used, their children included."""
    wrk_cores: float
    other_cores: float
    """Cores that anything else on the machine used: noise."""
    cores: dict[str, float] = {}
    """Of each server that was watched."""

    @property
    def seconds(self) -> float:
        return self.report.micros / 1e6

    @property
    def requests_per_second(self) -> float:
        return self.report.requests / self.seconds

    @property
    def claimed_per_second(self) -> float:
        return self.report.claimed / self.seconds

    def micros_per_request(self, server: str) -> float:
        """CPU time that a watched server spent on each request."""
        return self.cores[server] / self.requests_per_second * 1e6


class Target(Struct, frozen=True):
    """What one wrk loads: connections of its own, and what its script is told."""

    url: str
    connections: int
    arguments: tuple[int, ...] = ()


class LoadFailed(Exception):
    """The server refused requests or broke connections: no rate is worth stating."""


def run(
    script: str,
    url: str,
    *,
    servers: list[int],
    connections: int = 32,
    seconds: float = 3,
    count: int = 1,
    strict: bool = True,
) -> Load:
    """Load ``url`` for ``seconds``; ``servers`` are the process ids whose CPU time counts."""
    target = Target(url, connections, (count,))
    watched: dict[str, Pids] = {"server": lambda: servers}
    return run_together(script, [target], watched=watched, seconds=seconds, strict=strict)


def run_together(
    script: str,
    targets: Sequence[Target],
    *,
    watched: Mapping[str, Pids],
    seconds: float = 3,
    strict: bool = True,
) -> Load:
    """Load all ``targets`` at once; the CPU time of each of ``watched`` is told apart."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise LoadFailed("wrk is not installed (Debian package wrk)")
    before = {name: cpu_seconds_by_process(pids()) for name, pids in watched.items()}
    busy_before, began = busy_seconds(), time.perf_counter()
    processes = [_start(wrk, script, target, seconds) for target in targets]
    finished = [_finish(process) for process in processes]
    took = time.perf_counter() - began
    report = _together([report for report, _ in finished])
    if not report.requests:
        raise LoadFailed(f"{script} on {', '.join(one.url for one in targets)}: no answer")
    if strict and (report.refused or report.broken or report.timeouts):
        raise LoadFailed(f"{script} on {', '.join(one.url for one in targets)}: {report}")
    cores = {name: _used(before[name], pids()) / took for name, pids in watched.items()}
    own = sum(used for _, used in finished) / took
    busy = (busy_seconds() - busy_before) / took
    return Load(
        report=report,
        server_cores=sum(cores.values()),
        wrk_cores=own,
        other_cores=max(0.0, busy - sum(cores.values()) - own),
        cores=cores,
    )


def _start(wrk: str, script: str, target: Target, seconds: float) -> "subprocess.Popen[str]":
    command = [wrk, "-t1", f"-c{target.connections}", f"-d{max(1, round(seconds))}s"]
    command += ["--timeout=10s", "-s", str(SCRIPTS / f"{script}.lua"), target.url, "--"]
    command += map(str, target.arguments)
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _finish(process: "subprocess.Popen[str]") -> tuple[Report, float]:
    """What it reports, and the CPU time it took."""
    assert process.stdout is not None
    output = process.stdout.read()
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise LoadFailed(f"wrk ended with {process.returncode}: {output}")
    report = msgspec.json.decode(output.strip().rsplit("\n", 1)[-1], type=Report)
    return report, usage.ru_utime + usage.ru_stime


def _together(reports: Sequence[Report]) -> Report:
    """Counts added up; of times the longest."""
    added = ("requests", "refused", "broken", "timeouts", "claimed", "empty")
    longest = ("micros", "p50", "p99", "max")
    return Report(
        **{name: sum(getattr(report, name) for report in reports) for name in added},
        **{name: max(getattr(report, name) for report in reports) for name in longest},
    )


def _used(before: Mapping[int, float], pids: Sequence[int]) -> float:
    after = cpu_seconds_by_process(pids)
    return sum(used - before.get(pid, 0.0) for pid, used in after.items())
