"""Child processes of a benchmark: started on a free port, watched through /proc, always ended."""

import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

READY_WITHIN = 30.0
ENDS_WITHIN = 30.0
_TICKS = os.sysconf("SC_CLK_TCK")


class NotReady(Exception):
    """A process ended, or did not open its port in time."""


class Process:
    """A running server on a loopback port."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.name = name
        self.port = port
        self.log = log
        self.popen = popen

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def pids(self) -> list[int]:
        """The process and everything it started."""
        return with_descendants(self.pid)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def last_words(self) -> str:
        """The end of what it printed."""
        return self.log.read_text(errors="replace")[-2000:]

    def rss_bytes(self) -> int:
        """Resident memory of the process itself."""
        return int(_status(self.pid)["VmRSS"].split()[0]) * 1024

    def peak_rss_bytes(self) -> int:
        """The most it ever had resident."""
        return int(_status(self.pid)["VmHWM"].split()[0]) * 1024

    def stop(self) -> None:
        """SIGTERM, then SIGKILL when that takes too long. A second call does nothing."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(ENDS_WITHIN)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()

    def kill(self) -> None:
        """SIGKILL: it gets no chance to tidy up."""
        self.popen.kill()
        self.popen.wait()

    def ended(self) -> bool:
        return self.popen.poll() is not None


@contextmanager
def running(
    name: str,
    command: list[str],
    *,
    port: int,
    directory: Path,
    environment: Mapping[str, str] | None = None,
    ready_within: float = READY_WITHIN,
) -> Iterator[Process]:
    """Start ``command``, wait until something listens on ``port``, end it on leaving.

    ``environment`` is the whole of it; None passes on the caller's.
    """
    log = directory / f"{name}.log"
    with log.open("ab") as output:
        popen = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    process = Process(name, popen, port, log)
    try:
        _wait_until_listening(process, ready_within)
        yield process
    finally:
        process.stop()


def free_port() -> int:
    """A loopback port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time the processes have used so far, in and for the kernel too."""
    return sum(cpu_seconds_by_process(pids).values())


def cpu_seconds_by_process(pids: Iterable[int]) -> dict[int, float]:
    """The same for each of those that still run."""
    found = {}
    for pid in pids:
        with suppress(OSError):  # a process that has ended meanwhile
            found[pid] = _cpu(Path(f"/proc/{pid}/stat"))
    return found


def bytes_written(pids: Iterable[int]) -> int:
    """What the processes have had written to disks so far."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/io").read_text().split()
            total += int(fields[fields.index("write_bytes:") + 1])
    return total


def cpu_seconds_of_threads(pid: int) -> dict[int, float]:
    """CPU time of each thread, by its id; that of the first thread is ``pid``."""
    return {int(task.name): _cpu(task / "stat") for task in Path(f"/proc/{pid}/task").iterdir()}


def busy_seconds() -> float:
    """CPU time all cores together have been busy for."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
    return (user + nice + system + irq + softirq + steal) / _TICKS


def _cpu(stat: Path) -> float:
    fields = stat.read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


class Noise:
    """How busy others keep this machine: everything that is neither us nor our children."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._busy, self._own = busy_seconds(), _own_seconds()

    def seconds(self) -> float:
        return time.perf_counter() - self._began

    def cores(self) -> float:
        """Since the beginning; children count once they have ended."""
        own = _own_seconds() - self._own
        return max(0.0, (busy_seconds() - self._busy - own) / self.seconds())

    def __str__(self) -> str:
        return f"others used {self.cores():.2f} cores"


def _own_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _wait_until_listening(process: Process, within: float) -> None:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if process.ended():
            break
        try:
            socket.create_connection(("127.0.0.1", process.port), timeout=1).close()
        except OSError:
            time.sleep(0.005)
        else:
            return
    raise NotReady(
        f"{process.name} does not listen on port {process.port}:\n{process.last_words()}"
    )


def with_descendants(pid: int) -> list[int]:
    """A process and everything it started."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in task.read_text().split():
                found += with_descendants(int(child))
    return found


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)
