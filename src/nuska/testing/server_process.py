"""The real server as a process of its own, on a free port, for as long as a test needs it.

    with ServerProcess(tmp_path) as server:
        requests.get(server.url + "/v2")

Ready means: it has said where it listens. It always ends with the context, and what it
printed is at hand when something goes wrong. Use ``start``/``terminate``/``kill`` to restart
it on the same data. Nothing here needs an event loop; the calls that wait are short, so they
may be used from async tests too.
"""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from nuska.testing.ports import free_port

READY_WITHIN = 30.0
"""Seconds; generous, since many tests may start servers at once on a small machine."""
STOP_WITHIN = 30.0

_READY = re.compile(r"^\s*(?:listening on\s+(\S+)|role\s+delivery: .*)$")
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV")
"""Of our environment; no ``NUSKA_*`` of the person who runs the tests."""


class ServerFailed(Exception):
    """The server ended, or was not ready in time; the argument holds what it printed."""


class ServerProcess:
    """One ``nuska serve`` at a time, on ``data``."""

    def __init__(
        self,
        data: str | Path,
        *arguments: str,
        store: str = "sqlite:",
        listen: str = "",
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] = (sys.executable, "-m", "nuska"),
    ) -> None:
        """``arguments`` are further ones of ``nuska serve``; ``environment`` adds variables.
        ``listen``: where; else on a port that stays free while the server is down."""
        self.data = Path(data)
        self.url = ""
        """``http://127.0.0.1:PORT`` or ``unix:PATH``, once it is ready; "" without the API."""
        self._listen = listen or f"127.0.0.1:{free_port()}"
        self._command = [*command, "serve", "--store", store, "--data", str(data), *arguments]
        self._environment = {
            **{name: os.environ[name] for name in _INHERITED if name in os.environ},
            **(environment or {}),
        }
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._ready = threading.Event()
        self._stands = False
        self._printed: list[str] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)

    @property
    def process(self) -> "subprocess.Popen[str]":
        if self._process is None:
            raise ServerFailed("the server has not been started")
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def output(self) -> str:
        """What it has printed so far, to both of its streams."""
        return "".join(self._printed)

    @property
    def resident_bytes(self) -> int:
        """Its resident memory now (Linux)."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def start(self) -> Self:
        """Start it and wait until it is ready. After a stop: again, on the same port."""
        if self.running:
            raise ServerFailed("the server runs already")
        self.launch()
        if not self._ready.wait(READY_WITHIN) or not self._stands:
            self.kill()
            raise ServerFailed(f"the server did not become ready:\n{self.output}")
        if self.url:
            self._listen = self.url.rpartition("//")[2]
        return self

    def launch(self) -> None:
        """Start it without waiting, for those who want to see it fail."""
        self._ready = threading.Event()
        self._stands = False
        self._printed = []
        self.url = ""
        self._process = subprocess.Popen(
            [*self._command, "--listen", self._listen],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.running:
            self.process.send_signal(number)

    def wait(self, timeout: float = STOP_WITHIN) -> int:
        """Wait for its end; its exit code, negative for a signal as in ``subprocess``."""
        code = self.process.wait(timeout)
        if self._reader is not None:
            self._reader.join(timeout)
        return code

    def terminate(self, timeout: float = STOP_WITHIN) -> int:
        """SIGTERM, and wait for the orderly end; its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone. Does nothing when it is not running."""
        if self._process is not None:
            self.signal(signal.SIGKILL)
            self.wait()

    def _read(self, process: "subprocess.Popen[str]") -> None:
        """Keep what is printed; notice the line that says where it listens."""
        if process.stdout is None:
            return
        with process.stdout:
            for line in process.stdout:
                self._printed.append(line)
                found = _READY.match(line)
                if found:
                    self.url = found[1] or ""
                    self._stands = True
                if found and not self._ready.is_set():
                    self._ready.set()
        self._ready.set()
