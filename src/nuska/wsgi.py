"""``nuska.wsgi:application``: the HTTP API for operators who serve Python under uWSGI or mod_wsgi.

Settings come from the environment and the file that ``NUSKA_CONFIG`` names, as for ``nuska serve``.
Each process opens the store at its first request, since WSGI servers load an application first
and fork afterwards; an event loop in a thread answers what the server's threads ask.

Refuses, when it is loaded, a store with one owner. Does no background work, for which WSGI has no
place: that is for ``nuska serve --role delivery``, which must run beside it.
"""

import asyncio
import atexit
import logging
import os
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path

import uvloop
from msgspec.structs import replace

from nuska.addresses import host_guard
from nuska.answering import http_api
from nuska.audit import CannotAudit, audit_to
from nuska.core import Core
from nuska.delivering import CannotSend
from nuska.drivers import CannotStart
from nuska.encrypting import tell_of_missing
from nuska.identifying import identifying
from nuska.interfaces.audit import Audit
from nuska.interfaces.identity import Identity
from nuska.logs import set_up_logging
from nuska.opening import ONE_OWNER, opened
from nuska.settings import Settings, SettingsError, default_data_directory, load_settings
from nuska.system import SystemClock

try:
    from nuska.transport.wsgi import Environ, StartResponse, WsgiApp, bridge, refuse
except ModuleNotFoundError as missing:
    raise CannotStart(
        f"nuska.wsgi needs the Python package {missing.name!r}, which is not installed. "
        "Install it with: pip install 'nuska[wsgi]'"
    ) from missing

EMBEDDED = frozenset({"sqlite", "memory"})
"""Schemes of stores with one owner; seen before anything is opened."""
LONGEST_WAIT = 10
"""Seconds that a long poll may hold a thread."""
TRY_AGAIN_AFTER = 1.0
"""Seconds between two attempts at opening a store that could not be opened."""
NO_STREAMS = (
    "A WSGI server has no event streams. Ask a node on the same store that runs nuska serve."
)
STOP_WITHIN = 5.0
"""Seconds for the end of a process."""

log = logging.getLogger("nuska.wsgi")


class Application:
    """A WSGI application. Made before a fork or after; used in any thread of any process."""

    def __init__(self, settings: Settings) -> None:
        """Raises ``CannotStart``."""
        if settings.store.partition(":")[0] in EMBEDDED:
            raise CannotStart(f"Under WSGI there are many processes: {ONE_OWNER}")
        if settings.is_open and not settings.insecure_open:
            raise CannotStart(
                "Refusing to serve without authentication: under WSGI it is not known who can "
                "reach this. Set auth_strategy (NUSKA_AUTH_STRATEGY), or insecure_open "
                "(NUSKA_INSECURE_OPEN=true) if every client that can may do everything."
            )
        _check_threads()
        limits = replace(settings.limits, max_wait=min(settings.limits.max_wait, LONGEST_WAIT))
        self._settings = replace(settings, limits=limits)
        try:
            # One for all processes: each line is one write to the end of the file.
            self._audit = audit_to(
                settings.audit_log, SystemClock(), messages=settings.audit_messages
            )
        except CannotAudit as error:
            raise CannotStart(str(error)) from error
        self._opening = threading.Lock()
        self._process: _Process | None = None
        self._failed_at = float("-inf")
        self._failure = ""

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            process = self._of_this_process(environ)
        except CannotStart as error:
            return refuse(
                start_response, "503 Service Unavailable", str(error), ("retry-after", "1")
            )
        return process.answer(environ, start_response)

    def _of_this_process(self, environ: Environ) -> "_Process":
        process = self._process
        if process is not None and process.pid == os.getpid():
            return process
        with self._opening:
            if self._process is not None and self._process.pid == os.getpid():
                return self._process
            if time.monotonic() - self._failed_at < TRY_AGAIN_AFTER:
                raise CannotStart(self._failure)
            try:
                waiters = _waiters_at_most(environ)
                self._process = _Process(self._settings, self._audit, waiters)
            except CannotStart as error:
                self._failed_at, self._failure = time.monotonic(), str(error)
                log.error("the store cannot be opened", extra={"reason": str(error)})
                raise
            return self._process


class _Process:
    """What one process has: a thread with an event loop, and in it the core on an open store."""

    def __init__(self, settings: Settings, audit: Audit | None, max_waiters: int) -> None:
        """Returns when the store is open. Raises ``CannotStart``."""
        self.pid = os.getpid()
        self._loop = uvloop.new_event_loop()
        self._ending = asyncio.Event()
        is_open: Future[tuple[Core, Identity]] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(settings, max_waiters, is_open), name="nuska", daemon=True
        )
        self._thread.start()
        core, identity = is_open.result()
        allowed = host_guard(settings.names, allow_literals=True)
        app = http_api(settings, core, identity, allowed_host=allowed, audit=audit)
        self.answer: WsgiApp = bridge(app, self._loop)
        atexit.register(self._end)

    def _run(
        self, settings: Settings, max_waiters: int, is_open: "Future[tuple[Core, Identity]]"
    ) -> None:
        try:
            self._loop.run_until_complete(self._live(settings, max_waiters, is_open))
        finally:
            self._loop.close()

    async def _live(
        self, settings: Settings, max_waiters: int, is_open: "Future[tuple[Core, Identity]]"
    ) -> None:
        data = Path(settings.data) if settings.data else default_data_directory(os.environ)
        try:
            async with (
                opened(settings, data.absolute(), max_waiters=max_waiters) as backend,
                identifying(settings, backend.core, backend.keystone, backend.chance) as identity,
            ):
                tell_of_missing(await backend.core.health.missing_keys())
                backend.core.live.refusal = NO_STREAMS
                is_open.set_result((backend.core, identity))
                await self._ending.wait()
                backend.core.wakeups.stop()
        except CannotSend as error:
            is_open.set_exception(CannotStart(str(error)))
        except BaseException as error:
            if is_open.done():
                raise
            is_open.set_exception(error)

    def _end(self) -> None:
        """At the end of this process, and of no child that it had."""
        if os.getpid() == self.pid and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ending.set)
            self._thread.join(STOP_WITHIN)


def _check_threads() -> None:
    """uWSGI runs no thread of ours unless it is told to."""
    uwsgi = sys.modules.get("uwsgi")
    if uwsgi is not None and not {"enable-threads", "threads"} & _uwsgi_options(uwsgi).keys():
        raise CannotStart("Nuska needs a thread of its own: set enable-threads = true in uWSGI.")


def _waiters_at_most(environ: Environ) -> int:
    """How many threads long polls may hold at a time: half of them. Who comes then is answered
    at once."""
    if not environ.get("wsgi.multithread"):
        return 0
    if (uwsgi := sys.modules.get("uwsgi")) is not None:
        return int(_uwsgi_options(uwsgi).get("threads", "1")) // 2
    threads = getattr(sys.modules.get("mod_wsgi"), "threads_per_process", None)
    return 1 if threads is None else int(threads) // 2


def _uwsgi_options(uwsgi: object) -> dict[str, str]:
    options = getattr(uwsgi, "opt", {})
    return {_text(name): _text(value) for name, value in options.items()}


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def load() -> Application:
    """By the settings of this process. Raises ``CannotStart``."""
    try:
        settings = load_settings(environment=os.environ)
    except SettingsError as error:
        raise CannotStart(f"The settings cannot be used: {'; '.join(error.problems)}") from error
    set_up_logging(settings.log_format, settings.log_level)
    return Application(settings)


application = load()
