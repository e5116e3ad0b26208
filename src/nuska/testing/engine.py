"""What failure tests do to the engine of a shared store, and a server process that allows it.

Every engine's test server is an ``Engine``, so that one suite of failures serves them all
(``nuska.testing.conformance.failures``). An ``EngineProcess`` is one program on a free port of
127.0.0.1 with data of its own; it ends with the test that started it, and never as anything
else than a child of that test. Nothing here knows what is stored, or speaks to the engine.
"""

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import urlsplit, urlunsplit

from nuska.testing.ports import free_port

START_WITHIN = 30.0
"""Seconds until a server must answer; generous, for small machines that test many at once."""
LOOK_EVERY = 0.02
LAST_WORDS = 2000
"""Characters of its log that a server which did not start is quoted with."""
UNPRIVILEGED = ("postgres", "mysql", "nobody")
"""Whom root's tests run a server as that refuses to run as root: the first who is there."""

_names = count()


class Engine(Protocol):
    """A running engine in the hands of a test. None of this needs an event loop."""

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        ...

    def new_url(self) -> str:
        """What to open a store by that is empty, and apart from every other one."""
        ...

    def through(self, url: str, port: int) -> str:
        """``url`` by way of a proxy on that port of 127.0.0.1."""
        ...

    def start(self) -> None:
        """Start on the data that are there, and wait until it answers. Nothing, if it runs."""
        ...

    def stop(self) -> None:
        """End it in good order."""
        ...

    def kill(self) -> None:
        """End it at once, as a crash does."""
        ...

    def restart(self) -> None: ...

    def pause(self) -> None:
        """Stop it where it is (SIGSTOP); its connections stay open, and nothing is answered."""
        ...

    def resume(self) -> None:
        """Let it go on; nothing, if it was not paused."""
        ...


STILL_WITHIN = 10.0
"""Seconds in which a process that was stopped stands still."""
STILL = frozenset("TtZX")
"""States of a thread that does nothing any more (proc_pid_stat(5))."""


def _stands_still(pid: int) -> bool:
    """Whether every thread of a process has been stopped, or has ended."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except FileNotFoundError:
        return True
    return all(_state(thread) in STILL for thread in threads)


def _state(thread: Path) -> str:
    try:
        return (thread / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


class EngineProcess:
    """An ``Engine`` that is one program; a subclass says which one, and when it answers."""

    STOP = signal.SIGTERM
    KILL = signal.SIGKILL
    PATIENCE = START_WITHIN
    """Seconds until it must answer."""
    NEEDS_A_USER = False
    """It refuses to run as root."""

    def __init__(self, directory: Path, port: int = 0) -> None:
        self.port = port or free_port()
        self.directory = directory
        self.user = unprivileged_user() if self.NEEDS_A_USER else None
        self._log = directory / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._is_prepared = False

    def command(self) -> Sequence[str]:
        """The program and its arguments."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether it does what it is there for, by now."""
        raise NotImplementedError

    def new_url(self) -> str:
        raise NotImplementedError

    def prepare(self) -> None:
        """What has to be done once, before the first start; ``directory`` is there."""

    def through(self, url: str, port: int) -> str:
        split = urlsplit(url)
        host = split.netloc.replace(f":{self.port}", f":{port}")
        return urlunsplit(split._replace(netloc=host))

    def start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        if not self._is_prepared:
            self.directory.mkdir(parents=True, exist_ok=True)
            self.own(self.directory)
            self.prepare()
            self._is_prepared = True
        self._process = self.spawn(*self.command())
        if not within(self.PATIENCE, lambda: self._has_ended() or self.answers()):
            raise RuntimeError(f"a server does not answer: {self.last_words()}")
        if self._has_ended():
            raise RuntimeError(f"a server did not start: {self.last_words()}")

    def own(self, directory: Path) -> None:
        """Give a directory to the user that the server runs as."""
        if self.user is not None:
            os.chown(directory, self.user.pw_uid, self.user.pw_gid)

    def _has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def spawn(self, *command: str) -> subprocess.Popen[bytes]:
        """A program, as the user that the server runs as; what it says goes to the log."""
        user = self.user
        with self._log.open("ab") as log:
            return subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self.directory,
                env=None if user is None else {**os.environ, "HOME": str(self.directory)},
                user=None if user is None else user.pw_uid,
                group=None if user is None else user.pw_gid,
                extra_groups=None if user is None else [],
            )

    def last_words(self) -> str:
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return text[-LAST_WORDS:]

    def pids(self) -> list[int]:
        """The processes that it consists of, its first one first."""
        return [] if self._process is None else [self._process.pid]

    def signal(self, number: int) -> None:
        """To every process of it."""
        for pid in self.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)
        # The signal has been sent, no more: a thread on another core may still answer somebody.
        until = time.monotonic() + STILL_WITHIN
        while not all(_stands_still(pid) for pid in self.pids()):
            if time.monotonic() > until:
                raise TimeoutError(f"{type(self).__name__} goes on though it was stopped")
            time.sleep(LOOK_EVERY / 10)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def stop(self) -> None:
        self._end(self.STOP)

    def kill(self) -> None:
        self._end(self.KILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def _end(self, number: int) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        self.resume()
        try:
            self._process.wait(START_WITHIN)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self._process.wait()
        self._process = None


AnyEngine = TypeVar("AnyEngine", bound=Engine)


@contextmanager
def running(engine: AnyEngine) -> Iterator[AnyEngine]:
    """Started, and ended with the context, whatever a test did to it."""
    try:
        engine.start()
        yield engine
    finally:
        engine.kill()


def new_name() -> str:
    """A name for a store that no other one of this test process has; good in any engine."""
    return f"test_{next(_names)}"


def find_program(name: str, package: str) -> str:
    """Where a program is; ``package`` is what it comes with on Debian."""
    found = shutil.which(name)
    if found is None:
        raise RuntimeError(f"these tests need {name} (Debian package {package})")
    return found


def unprivileged_user() -> pwd.struct_passwd | None:
    """Whom to run a server as that refuses to run as root; None: as ourselves."""
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("this server refuses to run as root, and there is no other user to run it")


def children_of(parent: int) -> list[int]:
    """Its child processes."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status = (entry / "stat").read_text()
            except OSError:
                continue
            if int(status.rpartition(")")[2].split()[1]) == parent:
                found.append(int(entry.name))
    return found


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Whether something comes true in time."""
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(LOOK_EVERY)
    return True
