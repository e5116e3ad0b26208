"""What the figures were taken on: they mean nothing without it."""

import os
import platform
import tempfile
import time
from pathlib import Path

from msgspec import Struct

from benchmarks.figures import percentile


class Machine(Struct, frozen=True, kw_only=True):
    cpu: str
    cores: int
    memory_gb: float
    kernel: str
    python: str
    filesystem: str
    sync_p50_ms: float
    """One fdatasync after a 4 KiB append, on the disk that holds the stores."""
    sync_p99_ms: float
    load: float
    """Runnable processes in the minute before the run."""

    def sentence(self) -> str:
        return (
            f"{self.cores} cores of {self.cpu}, {self.memory_gb:.0f} GB, kernel {self.kernel}, "
            f"Python {self.python}; {self.filesystem}: fdatasync {self.sync_p50_ms:.2f} ms "
            f"(p99 {self.sync_p99_ms:.2f}); load {self.load:.1f} before the run"
        )


def describe(directory: Path) -> Machine:
    """Look at this machine and time the disk under ``directory``."""
    syncs = [seconds * 1000 for seconds in time_syncs(directory)]
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
        kernel=platform.release().partition("-")[0],
        python=platform.python_version(),
        filesystem=_filesystem(directory),
        sync_p50_ms=percentile(syncs, 50),
        sync_p99_ms=percentile(syncs, 99),
        load=os.getloadavg()[0],
    )


def time_syncs(directory: Path, count: int = 300) -> list[float]:
    """Seconds of each of ``count`` appends of a page, each followed by fdatasync."""
    taken = []
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        for _ in range(count):
            os.write(file.fileno(), b"\0" * 4096)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - began)
    return taken


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _filesystem(directory: Path) -> str:
    """The type of the file system that ``directory`` is on: on tmpfs a sync costs nothing."""
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _device, mount, found, *_ = line.split()
        if directory.resolve().is_relative_to(mount) and len(mount) >= len(best):
            best, kind = mount, found
    return kind
