"""Starts workers, starts them again when they die, and stops them in order.

The first worker starts alone: what keeps it from starting is said once, and what a store
does at its first opening is done once. Afterwards a worker that ends unbidden is replaced, at
once and then after pauses that grow; when none stays alive that is the end, with a sentence.

If the supervisor itself is killed, its workers notice by their lifeline and stop in order.
Refuses to have threads or an event loop: it forks.
"""

import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from nuska.workers.board import Board
from nuska.workers.duty import Duty
from nuska.workers.worker import Worker

STEADY = 10.0
"""Seconds of service after which a worker's end is no sign of a worker that cannot live."""
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
GIVE_UP_AFTER = 5
"""Ends in a row, of every worker and without one that serves."""
STOP_MARGIN = 10.0
"""Seconds for a worker's end beyond those it gives the requests in flight."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
_BY_SIGNAL = 128
_FAILED = 1
_MOST_SAID = 65_536

log = logging.getLogger("nuska.workers")


class _Place:
    """One of the workers, through all the processes that fill the place."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.pid = 0
        """0: there is none at the moment."""
        self.serving = False
        self.since = 0.0
        self.failures = 0
        """Ends in a row, each before it had served for long."""
        self.start_at: float | None = None
        self.reports = -1


class Supervisor:
    """``run`` returns when everything has ended; its exit code."""

    def __init__(
        self,
        work: Callable[[Worker], int],
        *,
        workers: int,
        stop_within: float,
        say: Callable[[str], None],
        stopping: str,
        close_ports: Callable[[], None],
    ) -> None:
        """``work`` is called in each worker and returns its exit code. ``say`` is given what
        the first worker reports, once all of them serve, and ``stopping`` at the end.
        ``close_ports`` lets go of the sockets in this process; workers have theirs."""
        self._work = work
        self._places = [_Place(number) for number in range(workers)]
        self._stop_within = stop_within + STOP_MARGIN
        self._say = say
        self._stopping = stopping
        self._close_ports = close_ports
        self._board = Board(workers)
        self._duty = Duty()
        self._lifeline, self._life = os.pipe()
        self._selector = selectors.DefaultSelector()
        self._said = ""
        self._announced = False
        self._code = 0
        self._deadline: float | None = None
        """Set once it stops: when what is left is killed."""

    def run(self) -> int:
        with self._signals_heard():
            self._start(self._places[0])
            while self._deadline is None or self._living():
                self._wait()
                self._reap()
                if self._deadline is None:
                    self._go_on()
                elif time.monotonic() > self._deadline:
                    log.warning("workers did not end in time and are killed")
                    self._signal(signal.SIGKILL)
        return self._code

    # What happens

    def _go_on(self) -> None:
        now = time.monotonic()
        if not self._announced and self._places[0].serving:
            for place in self._places[1:]:
                if not place.pid:
                    self._start(place)
            if all(place.serving for place in self._places):
                self._announced = True
                self._say(self._said)
        for place in self._places:
            if place.start_at is not None and now >= place.start_at:
                self._start(place)

    def _wait(self) -> None:
        moments = [place.start_at for place in self._places if place.start_at is not None]
        if self._deadline is not None:
            moments = [self._deadline]
        pause = max(min(moments) - time.monotonic(), 0) if moments else None
        for key, _ in self._selector.select(pause):
            place = key.data
            if place is not None:
                self._hear(place)
                continue
            for number in self._woken.recv(_MOST_SAID):
                if number in (signal.SIGTERM, signal.SIGINT):
                    self._told_to_stop(number)

    def _hear(self, place: _Place) -> None:
        said = os.read(place.reports, _MOST_SAID)
        self._forget_reports(place)
        if said:
            place.serving = True
            place.since = time.monotonic()
            if place.number == 0:
                self._said = said.decode()

    def _forget_reports(self, place: _Place) -> None:
        if place.reports >= 0:
            self._selector.unregister(place.reports)
            os.close(place.reports)
            place.reports = -1

    def _told_to_stop(self, number: int) -> None:
        if self._deadline is not None:
            self._signal(signal.SIGKILL)
            os._exit(_BY_SIGNAL + number)
        self._say(self._stopping)
        self._stop()

    def _stop(self) -> None:
        self._deadline = time.monotonic() + self._stop_within
        self._close_ports()
        for place in self._places:
            place.start_at = None
        self._signal(signal.SIGTERM)

    def _reap(self) -> None:
        for place in self._living():
            pid, status = os.waitpid(place.pid, os.WNOHANG)
            if pid:
                self._ended(place, os.waitstatus_to_exitcode(status))

    def _ended(self, place: _Place, code: int) -> None:
        if place.reports >= 0 and not place.serving:
            self._hear(place)  # it may have said something before its end
        self._forget_reports(place)
        self._board.retire(place.number, place.pid)
        pid, place.pid = place.pid, 0
        served, place.serving = place.serving, False
        if self._deadline is not None:
            self._code = self._code or max(code, 0)
            return
        if not self._announced:
            self._code = code if code > 0 else _FAILED
            if code < 0:
                log.error("a worker was killed while it started", extra={"signal": -code})
            self._stop()
            return
        steady = served and time.monotonic() - place.since >= STEADY
        place.failures = 0 if steady or code == 0 else place.failures + 1
        pause = _pause_after(place.failures)
        place.start_at = time.monotonic() + pause
        log.warning(
            "a worker has ended and is started again",
            extra={"worker": place.number, "pid": pid, "ended": _how(code), "in": pause},
        )
        if all(not one.serving and one.failures >= GIVE_UP_AFTER for one in self._places):
            log.error("no worker stays alive: giving up", extra={"last": _how(code)})
            self._code = _FAILED
            self._stop()

    # Processes

    def _living(self) -> list[_Place]:
        return [place for place in self._places if place.pid]

    def _signal(self, number: int) -> None:
        for place in self._living():
            with suppress(ProcessLookupError):
                os.kill(place.pid, number)

    def _start(self, place: _Place) -> None:
        place.start_at = None
        place.reports, report_to = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        place.pid = os.fork()
        if place.pid == 0:
            self._be_worker(place, report_to)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(report_to)
        self._selector.register(place.reports, selectors.EVENT_READ, place)

    def _be_worker(self, place: _Place, report_to: int) -> None:
        """In the child; does not return. SIGINT is for the supervisor: a terminal sends it to
        all, and so are further SIGTERMs, which ``work`` counts as one."""
        code = _FAILED
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            self._selector.close()
            for other in self._places:
                if other.reports >= 0:
                    os.close(other.reports)
            os.close(self._life)
            self._woken.close()
            code = self._work(
                Worker(
                    number=place.number,
                    workers=len(self._places),
                    board=self._board,
                    duty=self._duty,
                    lifeline=self._lifeline,
                    report_to=report_to,
                )
            )
        except BaseException as error:
            log.critical("a worker failed unexpectedly", exc_info=error)
        finally:
            with suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    @contextmanager
    def _signals_heard(self) -> Iterator[None]:
        """Signals become bytes to wait for together with everything else."""
        self._woken, waking = socket.socketpair()
        self._woken.setblocking(False)
        waking.setblocking(False)
        before = signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
        handlers = {number: signal.signal(number, _noted) for number in _SIGNALS}
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before)
            waking.close()
            self._woken.close()
            self._selector.close()
            os.close(self._life)
            os.close(self._lifeline)
            self._duty.close()


def _noted(_number: int, _frame: object) -> None:
    """Python itself writes the byte that wakes the supervisor."""


def _pause_after(failures: int) -> float:
    if failures <= 1:
        return 0.0
    return float(min(FIRST_PAUSE * 2 ** (failures - 2), LONGEST_PAUSE))


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
