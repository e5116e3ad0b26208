"""``nuska serve``: reads the settings, says what runs where, and stops when told to.

Ends with 0 after an orderly stop, 1 when the service cannot start, 2 for a mistake in the
settings, 128 and the signal's number when a second signal cut the stop short.
"""

import asyncio
import contextlib
import logging
import os
import resource
import signal
import sys
import uuid
from pathlib import Path
from typing import Annotated

import uvloop
from cyclopts import Parameter
from msgspec.structs import replace

from nuska import __version__
from nuska.addresses import UnixAddress
from nuska.assembly import CannotStart, Service, assembled
from nuska.cli.exits import Exit, complain
from nuska.collector import settle
from nuska.logs import set_up_logging
from nuska.settings import Settings, SettingsError, default_data_directory, load_settings

SPARE_DESCRIPTORS = 256
"""Files besides connections: the store's, the log's, the event loop's."""
_BY_SIGNAL = 128

log = logging.getLogger("nuska.serve")


def serve(
    *,
    listen: str | None = None,
    store: str | None = None,
    require_durability: str | None = None,
    data: Path | None = None,
    config: Path | None = None,
    insecure_open: bool | None = None,
    allowed_host: Annotated[list[str] | None, Parameter(negative="")] = None,
    admin_mode: bool | None = None,
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
    store
        sqlite: (the default), sqlite:///absolute/path or memory:
    require_durability
        Refuse to start with less: none, fsync or majority.
    data
        Data directory. Default $XDG_DATA_HOME/nuska or ~/.local/share/nuska.
    config
        TOML file with settings.
    insecure_open
        Run without authentication on an address that others can reach.
    allowed_host
        A further name this server goes by; may be repeated.
    admin_mode
        Serve the operator's routes to callers with the admin role.
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
        "store": store,
        "require_durability": require_durability,
        "data": None if data is None else str(data),
        "insecure_open": insecure_open,
        "allowed_hosts": allowed_host,
        "admin_mode": admin_mode,
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
    try:
        uvloop.run(_run(settings))
    except CannotStart as error:
        complain(str(error))
        return Exit.REFUSED
    return Exit.DONE


async def _run(settings: Settings) -> None:
    data = Path(settings.data) if settings.data else default_data_directory(os.environ)
    stop = _stop_on_signal()
    wanted = settings.server.max_connections
    connections = min(wanted, _allow_descriptors(wanted + SPARE_DESCRIPTORS) - SPARE_DESCRIPTORS)
    if connections < wanted:
        bounds = replace(settings.server, max_connections=connections)
        settings = replace(settings, server=bounds)
        log.warning("the system allows fewer connections", extra={"connections": connections})
    async with assembled(settings, data.absolute()) as service:
        settle()
        _say(banner(service))
        await stop.wait()
        _say("Stopping: finishing the requests in flight. A second signal stops at once.\n")


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


def _allow_descriptors(wanted: int) -> int:
    """Raise our own limit of open files towards ``wanted``; how many there may be now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed


def banner(service: Service) -> str:
    """What a person needs to know, and three commands that work when pasted."""
    address = service.address
    if service.open_to_others:
        access = "OPEN TO OTHERS: no authentication; whoever reaches this address may do everything"
    else:
        access = "open: no authentication; only this machine can reach it"
    lines = [
        f"Nuska {__version__}",
        f"  listening on  {address.url}",
        f"  data          {service.where}",
        f"  durability    {service.store.durability}",
        f"  access        {access}",
    ]
    if service.metrics_at:
        lines.append(f"  metrics       {service.metrics_at}")
    curl, base = r"curl -sSw '\n'", address.url
    if isinstance(address, UnixAddress):
        curl, base = f"{curl} --unix-socket {address.path}", "http://localhost"
    who = f"-H 'Client-ID: {uuid.uuid4()}' -H 'X-Project-Id: demo'"
    queue = f"{base}/v2/queues/demo"
    body = """-H 'Content-Type: application/json' -d '{"messages": [{"body": {"job": 17}}]}'"""
    lines += [
        "",
        "Post a message, claim it, list what is there:",
        f"  {curl} {who} {body} {queue}/messages",
        f"  {curl} {who} -X POST {queue}/claims",
        f"  {curl} {who} '{queue}/messages?echo=true&include_claimed=true'",
        "",
    ]
    return "\n".join(lines) + "\n"


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # nobody listens: no reason not to serve
        sys.stdout.write(text)
        sys.stdout.flush()
