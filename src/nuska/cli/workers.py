"""``nuska serve --workers N``: the sockets opened once, and N processes that share them."""

import asyncio
import signal
from pathlib import Path

import structlog
import uvloop

from nuska.assembly import assembled
from nuska.cli.banner import STOPPING, banner, say
from nuska.cli.exits import Exit, complain
from nuska.collector import settle
from nuska.drivers import CannotStart
from nuska.ports import Ports, open_ports
from nuska.settings import Settings
from nuska.transport.server.ports import CannotListen
from nuska.workers.supervisor import STOP_MARGIN, Supervisor
from nuska.workers.worker import Worker


def serve_with_workers(settings: Settings, data: Path) -> int:
    """Serve until told to stop; the exit code. Raises ``CannotStart``."""
    try:
        ports = open_ports(settings)
    except CannotListen as error:
        raise CannotStart(f"{error}.") from error

    def work(worker: Worker) -> int:
        structlog.contextvars.bind_contextvars(worker=worker.number)
        try:
            uvloop.run(_serve(settings, data, worker, ports.shared()))
        except CannotStart as error:
            complain(str(error))
            return Exit.REFUSED
        return Exit.DONE

    supervisor = Supervisor(
        work,
        workers=settings.workers,
        stop_within=settings.server.stop_timeout,
        say=say,
        stopping=STOPPING,
        close_ports=ports.close,
    )
    return supervisor.run()


async def _serve(settings: Settings, data: Path, worker: Worker, ports: Ports) -> None:
    """Until told to stop, or the supervisor has gone: then nobody else would end this, so it
    has a last hour, kept by the kernel."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def orphaned() -> None:
        loop.remove_reader(worker.lifeline)
        signal.setitimer(signal.ITIMER_REAL, settings.server.stop_timeout + STOP_MARGIN)
        stop.set()

    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(worker.lifeline, orphaned)
    async with assembled(settings, data, worker, ports) as service:
        settle()
        worker.ready(banner(service, settings))
        await stop.wait()
