"""``nuska serve``: reads the settings, says what runs where, and stops when told to.

Ends with 0 after an orderly stop, 1 when the service cannot start, 2 for a mistake in the
settings, 128 and the signal's number when a second signal cut the stop short.
"""

import asyncio
import logging
import os
import resource
import signal
from pathlib import Path
from typing import Annotated

import uvloop
from cyclopts import Parameter
from msgspec.structs import replace

from nuska.assembly import assembled
from nuska.cli.banner import STOPPING, banner, say
from nuska.cli.exits import Exit, complain
from nuska.cli.workers import serve_with_workers
from nuska.collector import settle
from nuska.drivers import CannotStart
from nuska.logs import set_up_logging
from nuska.settings import Settings, SettingsError, default_data_directory, load_settings

SPARE_DESCRIPTORS = 256
"""Files besides connections: the store's, the log's, the event loop's."""
_BY_SIGNAL = 128

log = logging.getLogger("nuska.serve")


def serve(
    *,
    listen: str | None = None,
    websocket_listen: str | None = None,
    workers: int | None = None,
    role: str | None = None,
    store: str | None = None,
    require_durability: str | None = None,
    data: Path | None = None,
    config: Path | None = None,
    auth: str | None = None,
    insecure_open: bool | None = None,
    allowed_host: Annotated[list[str] | None, Parameter(negative="")] = None,
    admin_mode: bool | None = None,
    pooling: bool | None = None,
    public_url: str | None = None,
    require_confirmation: str | None = None,
    metrics: str | None = None,
    access_log: bool | None = None,
    log_format: str | None = None,
    log_level: str | None = None,
) -> int:
    """Run a server until it is told to stop (SIGTERM, SIGINT); ``cli`` has what the help says.

    Parameters
    ----------
    listen
        HOST:PORT (IPv6 in brackets) or unix:PATH. Default 127.0.0.1:8888.
    websocket_listen
        A second address, for WebSockets alone, such as 127.0.0.1:9000.
    workers
        Processes that serve together, on a store that processes share. Default 1.
    role
        all (the default), api or delivery.
    store
        sqlite: (the default), sqlite:///absolute/path, memory:, redis://HOST, mongodb://HOST,
        postgresql://HOST/DATABASE or mariadb://HOST/DATABASE
    require_durability
        Refuse to start with less: none, fsync or majority.
    data
        Data directory. Default $XDG_DATA_HOME/nuska or ~/.local/share/nuska.
    config
        TOML file with settings.
    auth
        Who says whom a request comes from: none (the default), keys, keystone or jwt.
    insecure_open
        Run without authentication on an address that others can reach.
    allowed_host
        A further name this server goes by; may be repeated.
    admin_mode
        Serve the operator's routes to callers with the admin role.
    pooling
        Place queues over pools, stores that an operator adds.
    public_url
        Where subscribers reach this service from outside.
    require_confirmation
        Which subscribers must confirm: mail (the default), all or none.
    metrics
        path (at /metrics), HOST:PORT (apart) or off.
    access_log
        One log line per request.
    log_format
        auto, human or json.
    log_level
        debug, info, warning or error.
    """
    flags = {
        "listen": listen,
        "websocket_listen": websocket_listen,
        "workers": workers,
        "role": role,
        "store": store,
        "require_durability": require_durability,
        "data": None if data is None else str(data),
        "auth_strategy": auth,
        "insecure_open": insecure_open,
        "allowed_hosts": allowed_host,
        "admin_mode": admin_mode,
        "pooling": pooling,
        "public_url": public_url,
        "require_confirmation": require_confirmation,
        "metrics": metrics,
        "access_log": access_log,
        "log_format": log_format,
        "log_level": log_level,
    }
    try:
        settings = load_settings(flags=flags, environment=os.environ, file=config)
    except SettingsError as error:
        for problem in error.problems:
            complain(problem)
        return Exit.USAGE
    set_up_logging(settings.log_format, settings.log_level)
    settings = _within_descriptors(settings)
    data = Path(settings.data) if settings.data else default_data_directory(os.environ)
    try:
        if settings.workers > 1:
            return serve_with_workers(settings, data.absolute())
        uvloop.run(_run(settings, data.absolute()))
    except CannotStart as error:
        complain(str(error))
        return Exit.REFUSED
    return Exit.DONE


async def _run(settings: Settings, data: Path) -> None:
    stop = _stop_on_signal()
    async with assembled(settings, data) as service:
        settle()
        say(banner(service, settings))
        await stop.wait()
        say(STOPPING)


def _stop_on_signal() -> asyncio.Event:
    """Set at the first SIGTERM or SIGINT; the second one ends the process there and then.

    That is safe: an acknowledged write is on disk, and the store recovers like after a crash.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def received(number: int) -> None:
        if stop.is_set():
            os._exit(_BY_SIGNAL + number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received, number)
    return stop


def _within_descriptors(settings: Settings) -> Settings:
    wanted = settings.server.max_connections
    connections = min(wanted, _allow_descriptors(wanted + SPARE_DESCRIPTORS) - SPARE_DESCRIPTORS)
    if connections == wanted:
        return settings
    log.warning("the system allows fewer connections", extra={"connections": connections})
    return replace(settings, server=replace(settings.server, max_connections=connections))


def _allow_descriptors(wanted: int) -> int:
    """Raise our own limit of open files towards ``wanted``; how many there may be now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed
