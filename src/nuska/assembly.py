"""The one place where concrete classes meet: what ``opening`` has opened → application, server,
upkeep. No logic beyond the order of things.

Opened in the order in which a mistake is cheapest (addresses before data), closed in the
reverse order: no new connections, waiters told, requests in flight answered, upkeep, store.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from msgspec import Struct

from nuska.addresses import Address, UnixAddress
from nuska.answering import http_api
from nuska.audit import CannotAudit, audit_to
from nuska.certificates import CannotEncrypt, Certificate
from nuska.connecting import connecting
from nuska.core import Core
from nuska.delivering import CannotSend, delivering
from nuska.delivery.engine import Engine
from nuska.drivers import CannotStart
from nuska.encrypting import tell_of_missing
from nuska.ending import ended
from nuska.identifying import identifying
from nuska.identity.keystone.trusts import KeystoneTrusts
from nuska.interfaces.identity import Identity
from nuska.interfaces.notifications import SubscribableStore
from nuska.interfaces.storage import Store
from nuska.logs import log_request
from nuska.metrics import PATH as METRICS_PATH
from nuska.metrics import NuskaCollector, Sources, build_metrics_app
from nuska.opening import Backend, opened
from nuska.ports import Ports, guard, is_private, open_ports
from nuska.settings import Settings
from nuska.transport.http.proving import judge_by
from nuska.transport.server.asgi import AsgiApp
from nuska.transport.server.counters import Counters
from nuska.transport.server.ports import CannotListen
from nuska.transport.server.server import HttpServer
from nuska.transport.server.upgrade_only import upgrade_only
from nuska.upkeep.forgetting import Forgetter
from nuska.upkeep.sweeper import Sweeper
from nuska.workers.board import Collector, SummedCollector, publish
from nuska.workers.worker import Worker

PING_PATH = "/v2/ping"
"""Also answered where metrics are apart: a node without the API has no other sign of life."""


log = logging.getLogger("nuska.assembly")


class Service(Struct, frozen=True, kw_only=True):
    """A service that runs."""

    address: Address | None
    """None when it has no API."""
    metrics_at: str
    """Where metrics are, in words; empty when there are none."""
    where: str
    """Where data lives, in words."""
    websocket: Address | None
    """The second address for WebSockets, if there is one."""
    store: Store
    core: Core
    server: HttpServer
    open_to_others: bool
    missing_keys: list[str]
    """The operator's encryption keys that something stored here needs, by name."""


@asynccontextmanager
async def assembled(
    settings: Settings, data: Path, worker: Worker | None = None, ports: Ports | None = None
) -> AsyncIterator[Service]:
    """A running service; leaving the context stops it in order.

    Workers are given what their supervisor listens on. Raises ``CannotStart``.
    """
    async with AsyncExitStack() as stack:
        if ports is None:
            try:
                ports = open_ports(settings)
            except CannotListen as error:
                raise CannotStart(f"{error}.") from error
        stack.callback(ports.close)
        tls = await _certificate(settings, stack)
        backend = await stack.enter_async_context(opened(settings, data))
        core, store = backend.core, backend.store
        missing_keys = await core.health.missing_keys()
        if worker is None or worker.number == 0:
            if settings.role != "api":
                _tell_who_cannot_be_asked(core, settings)
            tell_of_missing(missing_keys)
        is_ours = worker.duty.is_ours if worker else _always
        sweeper = Sweeper(store, core.announcing, core.clock, is_ours)
        counters = Counters()
        allowed = _guard(settings, ports)
        try:
            identity = await stack.enter_async_context(
                identifying(settings, core, backend.keystone, backend.chance)
            )
        except CannotSend as error:
            raise CannotStart(str(error)) from error
        try:
            audit = audit_to(settings.audit_log, core.clock, messages=settings.audit_messages)
        except CannotAudit as error:
            raise CannotStart(str(error)) from error
        app = http_api(
            settings, core, identity, allowed_host=allowed, audit=audit, observe=counters.answered
        )
        server = HttpServer(
            app,
            clock=backend.local,
            random_bytes=backend.chance,
            bounds=settings.server,
            counters=counters,
            log_request=log_request if settings.access_log else None,
            tls=tls,
        )
        sockets = connecting(
            settings,
            core,
            identity,
            random_bytes=backend.chance,
            counters=counters,
            allowed_host=allowed if identity.believes_claims else _any_host,
            audit=audit,
        )
        server.serve_websockets(sockets)
        engine: Engine | None = None
        if settings.role != "api":
            try:
                engine = await stack.enter_async_context(
                    delivering(settings, core, store, backend.chance, _trusts(backend))
                )
            except CannotSend as error:
                raise CannotStart(str(error)) from error
        counted = NuskaCollector(Sources(counters, server, sweeper, core, store, engine, sockets))
        collector = _collector(counted, worker, stack)
        if settings.metrics == "path":
            server.add_side_app(METRICS_PATH, _metrics_app(collector, allowed, identity, core))
        if settings.role != "api":
            sweeping = asyncio.create_task(sweeper.run(), name="sweeper")
            stack.push_async_callback(_stop_sweeping, sweeper, sweeping)
            if isinstance(store, SubscribableStore):
                forgetter = Forgetter(store.records, core.clock, is_ours)
                forgetting = asyncio.create_task(forgetter.run(), name="records of the past")
                stack.push_async_callback(ended, forgetting)
        closing = asyncio.create_task(core.live.run(), name="logs that nobody listens to")
        stack.push_async_callback(ended, closing)
        if ports.apart is not None:
            metrics = build_metrics_app(collector, guard(settings, ports.apart.address))
            side = HttpServer(metrics, clock=backend.local, random_bytes=backend.chance, tls=tls)
            side.add_side_app(PING_PATH, app)
            await side.start([ports.apart])
            stack.push_async_callback(side.stop)
        if ports.api is not None:
            await server.start([ports.api])
            stack.push_async_callback(_stop_serving, server, core)
        if ports.websocket is not None:
            second = HttpServer(
                upgrade_only,
                clock=backend.local,
                random_bytes=backend.chance,
                bounds=settings.server,
                counters=counters,
                tls=tls,
            )
            second.serve_websockets(sockets, paths=None)
            await second.start([ports.websocket])
            stack.push_async_callback(_stop_serving, second, core)
        yield Service(
            address=None if ports.api is None else ports.api.address,
            metrics_at=_metrics_at(settings, ports),
            where=_where(settings.store, data),
            websocket=None if ports.websocket is None else ports.websocket.address,
            store=store,
            core=core,
            server=server,
            missing_keys=missing_keys,
            open_to_others=settings.is_open
            and any(
                port is not None and not is_private(port.address)
                for port in (ports.api, ports.websocket)
            ),
        )


async def _certificate(settings: Settings, stack: AsyncExitStack) -> ssl.SSLContext | None:
    """By which every port on a network encrypts; None: none does."""
    if not settings.tls_certificate:
        return None
    try:
        certificate = Certificate(Path(settings.tls_certificate), Path(settings.tls_key))
    except CannotEncrypt as error:
        raise CannotStart(f"{error}.") from error
    looking = asyncio.create_task(certificate.run(), name="certificate")
    stack.push_async_callback(ended, looking)
    return certificate.context


def _tell_who_cannot_be_asked(core: Core, settings: Settings) -> None:
    """Once: what a subscription says again wherever it is shown. Where nobody has set up mail at
    all, nobody is surprised that there is none."""
    is_meant = settings.mail.smtp_mode == "off" and not settings.public_url
    for sentence in core.confirmations.problems():
        if not (is_meant and "smtp_mode" in sentence):
            log.warning(sentence)


def _trusts(backend: Backend) -> KeystoneTrusts | None:
    return None if backend.keystone is None else backend.keystone.trusts


def _collector(own: NuskaCollector, worker: Worker | None, stack: AsyncExitStack) -> Collector:
    """What is shown when somebody asks for metrics: of all workers, where there are several."""
    if worker is None:
        return own
    publishing = asyncio.create_task(publish(worker.board, worker.number, own), name="counts")
    stack.push_async_callback(ended, publishing)
    stack.callback(worker.board.publish, worker.number, own)
    return SummedCollector(worker.board, worker.number, own)


def _guard(settings: Settings, ports: Ports) -> Callable[[str], bool]:
    port = ports.api or ports.apart
    return guard(settings, settings.address if port is None else port.address)


def _any_host(_: str) -> bool:
    """Callers prove who they are, so a page from elsewhere gets nowhere."""
    return True


def _always() -> bool:
    return True


def _metrics_app(
    collector: Collector, allowed: Callable[[str], bool], identity: Identity, core: Core
) -> AsgiApp:
    """Beside the API it asks for the same proof."""
    if identity.believes_claims:
        return build_metrics_app(collector, allowed)
    return build_metrics_app(collector, _any_host, judge=judge_by(identity, core.access))


def _metrics_at(settings: Settings, ports: Ports) -> str:
    port = ports.apart or (ports.api if settings.metrics == "path" else None)
    if port is None:
        return ""
    if isinstance(port.address, UnixAddress):
        return f"http://localhost{METRICS_PATH} on {port.address}"
    return shown_url(port.address, settings) + METRICS_PATH


def shown_url(address: Address, settings: Settings) -> str:
    """Where a client finds it, by the scheme that is spoken there."""
    if settings.tls_certificate and not isinstance(address, UnixAddress):
        return address.url.replace("http://", "https://", 1)
    return address.url


def _where(url: str, data: Path) -> str:
    match url:
        case "memory:":
            return "in memory only: everything is gone when the server stops"
        case "sqlite:" | "sqlite://":
            return str(data)
        case _:
            return _without_password(url)


def _without_password(url: str) -> str:
    """``url`` for people and logs."""
    split = urlsplit(url)
    host = split.netloc.rpartition("@")[2]
    return urlunsplit((split.scheme, host, split.path, "", "")) if split.netloc else url


async def _stop_serving(server: HttpServer, core: Core) -> None:
    server.stop_accepting()
    core.wakeups.stop()
    await core.live.stop()
    await server.stop()


async def _stop_sweeping(sweeper: Sweeper, task: asyncio.Task[None]) -> None:
    sweeper.stop()
    await task
