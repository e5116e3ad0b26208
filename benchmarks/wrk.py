"""Runs wrk with one of the scripts beside this file and reads what it reports.

wrk shares the cores with the server it loads; how much of them it took is part of every load.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from benchmarks.processes import busy_seconds, cpu_seconds

SCRIPTS = Path(__file__).resolve().parent / "lua"


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
    """One run of wrk."""

    report: Report
    server_cores: float
    """Cores that the measured server used, its children included."""
    wrk_cores: float
    other_cores: float
    """Cores that anything else on the machine used: noise."""

    @property
    def seconds(self) -> float:
        return self.report.micros / 1e6

    @property
    def requests_per_second(self) -> float:
        return self.report.requests / self.seconds

    @property
    def claimed_per_second(self) -> float:
        return self.report.claimed / self.seconds


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
    wrk = shutil.which("wrk")
    if wrk is None:
        raise LoadFailed("wrk is not installed (Debian package wrk)")
    command = [wrk, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout=10s"]
    command += ["-s", str(SCRIPTS / f"{script}.lua"), url, "--", str(count)]
    server_before, busy_before, began = cpu_seconds(servers), busy_seconds(), time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    took = time.perf_counter() - began
    if process.returncode != 0:
        raise LoadFailed(f"wrk ended with {process.returncode}: {output}")
    report = msgspec.json.decode(output.strip().rsplit("\n", 1)[-1], type=Report)
    if strict and (report.refused or report.broken or report.timeouts):
        raise LoadFailed(f"{script} on {url}: {report}")
    server = (cpu_seconds(servers) - server_before) / took
    own = (usage.ru_utime + usage.ru_stime) / took
    busy = (busy_seconds() - busy_before) / took
    return Load(
        report=report,
        server_cores=server,
        wrk_cores=own,
        other_cores=max(0.0, busy - server - own),
    )
