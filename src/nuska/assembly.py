"""The one place where concrete classes meet: settings → clock, store, core, application,
server, upkeep. No logic beyond the order of things.

Opened in the order in which a mistake is cheapest (addresses before data), closed in the
reverse order: no new connections, waiters told, requests in flight answered, upkeep, store.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit, urlunsplit

from msgspec import Struct
from msgspec.structs import replace

from nuska.addresses import Address, UnixAddress
from nuska.core import Core, build_core
from nuska.delivering import CannotSend, delivering
from nuska.delivery.engine import Engine
from nuska.domain.errors import Unavailable
from nuska.identity.none import NoAuthentication
from nuska.interfaces.clock import Clock
from nuska.interfaces.pooling import Placement, PoolableStore
from nuska.interfaces.storage import Durability, SelectiveStore, SharedStore, Store, StoreOptions
from nuska.listening import Listening, guard, is_private, open_listening
from nuska.logs import log_request
from nuska.metrics import PATH as METRICS_PATH
from nuska.metrics import NuskaCollector, Sources, build_metrics_app
from nuska.settings import Settings
from nuska.stores.pooled import PooledStore, pooled
from nuska.subscribing import CannotSign, confirmation_rules, subscriber_rules
from nuska.system import Chance, SystemClock
from nuska.transport.http.app import build_app
from nuska.transport.server.counters import Counters
from nuska.transport.server.listeners import CannotListen
from nuska.transport.server.server import HttpServer
from nuska.upkeep.store_clock import ServerClock
from nuska.upkeep.sweeper import Sweeper
from nuska.workers.board import Collector, SummedCollector, publish
from nuska.workers.worker import Worker

# Every storage driver, by URL scheme. Imported only when chosen, so that nobody installs a
# client library for a backend they do not use.
STORE_DRIVERS: dict[str, str] = {
    "sqlite": "nuska.stores.sqlite:open_store",
    "memory": "nuska.stores.memory:open_store",
    "redis": "nuska.stores.redis:open_store",
    "rediss": "nuska.stores.redis:open_store",
    "redis+cluster": "nuska.stores.redis:open_store",
    "rediss+cluster": "nuska.stores.redis:open_store",
    "redis+sentinel": "nuska.stores.redis:open_store",
    "rediss+sentinel": "nuska.stores.redis:open_store",
    "postgresql": "nuska.stores.sql:open_store",
    "mysql": "nuska.stores.sql:open_store",
    "mariadb": "nuska.stores.sql:open_store",
    "mongodb": "nuska.stores.mongodb:open_store",
    "mongodb+srv": "nuska.stores.mongodb:open_store",
}

# Stores whose content an operator brings to a newer version by name: ``nuska store migrate``.
STORE_MIGRATIONS: dict[str, str] = {
    "postgresql": "nuska.stores.sql:migrate",
    "mysql": "nuska.stores.sql:migrate",
    "mariadb": "nuska.stores.sql:migrate",
}

# Stores whose file ``nuska store backup`` copies and ``nuska store restore`` puts in place. The
# others are backed up with what their engine has for that.
STORE_BACKUPS: dict[str, str] = {"sqlite": "nuska.stores.sqlite.backup:back_up"}
STORE_RESTORES: dict[str, str] = {"sqlite": "nuska.stores.sqlite.restoring:restore"}
BACKUP_TOOLS = {
    "redis": "the server's own snapshots (BGSAVE)",
    "rediss": "the server's own snapshots (BGSAVE)",
    "postgresql": "pg_dump",
    "mysql": "mariadb-dump",
    "mariadb": "mariadb-dump",
    "mongodb": "mongodump",
}

# What to install for a driver, where that is not named as its folder is.
STORE_EXTRAS = {"postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql"}

TOLERATED_LAG = 1000
"""Milliseconds by which the clock may lag behind the store without a word."""

ONE_PROCESS_ONLY = frozenset({"sqlite", "memory"})
"""Stores that one process has to itself, by URL scheme."""

PING_PATH = "/v2/ping"
"""Also answered where metrics are apart: a node without the API has no other sign of life."""

ONE_OWNER = (
    "this store belongs to one process at a time, which serves and does the background work. "
    "Leave --workers and --role alone, or keep messages in a store that processes share, "
    "such as --store redis://HOST or postgresql://HOST/DATABASE."
)

log = logging.getLogger("nuska.assembly")

_Open: TypeAlias = Callable[[StoreOptions], Awaitable[Store]]
_Migrate: TypeAlias = Callable[[str], Awaitable[bool]]


class CannotStart(Exception):
    """The service cannot run like this; the argument is a sentence for the operator."""


class Backend(Struct, frozen=True, kw_only=True):
    """What serves callers, below any transport."""

    store: Store
    core: Core
    local: SystemClock
    chance: Chance


class Service(Struct, frozen=True, kw_only=True):
    """A service that runs."""

    address: Address | None
    """None when it has no API."""
    metrics_at: str
    """Where metrics are, in words; empty when there are none."""
    where: str
    """Where data lives, in words."""
    store: Store
    core: Core
    server: HttpServer
    open_to_others: bool


@asynccontextmanager
async def opened(
    settings: Settings, data: Path, *, max_waiters: int | None = None
) -> AsyncIterator[Backend]:
    """The core on an open store; ``max_waiters``: see ``build_core``. Raises ``CannotStart``."""
    async with AsyncExitStack() as stack:
        local, chance = SystemClock(), Chance()
        required = Durability[settings.require_durability.upper()]
        options = StoreOptions(
            url=settings.store,
            data_dir=str(data),
            now=local.now(),
            random_bytes=chance,
            required=required,
        )
        _check_alone(settings)
        store = await _open_store(options)
        stack.push_async_callback(store.close)
        _check_durability(store, required)
        _check_sharing(store, settings)
        clock = await _timeline(local, store, stack)
        placement: Placement | None = None
        if settings.limits.pooling:
            together = _pooled(store, options, clock, fall_back=settings.enable_virtual_pool)
            stack.push_async_callback(together.close)
            store, placement = together, together.placement
        shared = store if isinstance(store, SharedStore) else None
        try:
            confirmation = confirmation_rules(
                settings, data, embedded=settings.store.partition(":")[0] in ONE_PROCESS_ONLY
            )
        except CannotSign as error:
            raise CannotStart(f"{error}.") from error
        core = build_core(
            store=store,
            clock=clock,
            limits=settings.limits,
            random_bytes=chance,
            tell=None if shared is None else shared.tell,
            max_waiters=max_waiters,
            placement=placement,
            subscribers=subscriber_rules(settings),
            confirmation=confirmation,
        )
        if isinstance(shared, SelectiveStore):
            core.wakeups.attend(shared)
        if shared is not None:
            hearing = asyncio.create_task(shared.listen(core.wakeups.hear), name="other nodes")
            stack.push_async_callback(_cancel, hearing)
        yield Backend(store=store, core=core, local=local, chance=chance)


@asynccontextmanager
async def assembled(
    settings: Settings, data: Path, worker: Worker | None = None, listening: Listening | None = None
) -> AsyncIterator[Service]:
    """A running service; leaving the context stops it in order.

    Workers are given what their supervisor listens on. Raises ``CannotStart``.
    """
    async with AsyncExitStack() as stack:
        if listening is None:
            try:
                listening = open_listening(settings)
            except CannotListen as error:
                raise CannotStart(f"{error}.") from error
        stack.callback(listening.close)
        backend = await stack.enter_async_context(opened(settings, data))
        core, store = backend.core, backend.store
        sweeper = Sweeper(
            store, core.announcing, core.clock, worker.duty.is_ours if worker else _always
        )
        counters = Counters()
        allowed = _guard(settings, listening)
        app = build_app(core, NoAuthentication(), allowed_host=allowed, observe=counters.answered)
        server = HttpServer(
            app,
            clock=backend.local,
            random_bytes=backend.chance,
            bounds=settings.server,
            counters=counters,
            log_request=log_request if settings.access_log else None,
        )
        engine: Engine | None = None
        if settings.role != "api":
            try:
                engine = await stack.enter_async_context(
                    delivering(settings, core, store, backend.chance)
                )
            except CannotSend as error:
                raise CannotStart(str(error)) from error
        counted = NuskaCollector(Sources(counters, server, sweeper, core, store, engine))
        collector = _collector(counted, worker, stack)
        if settings.metrics == "path":
            server.add_side_app(METRICS_PATH, build_metrics_app(collector, allowed))
        if settings.role != "api":
            sweeping = asyncio.create_task(sweeper.run(), name="sweeper")
            stack.push_async_callback(_stop_sweeping, sweeper, sweeping)
        if listening.apart is not None:
            metrics = build_metrics_app(collector, guard(settings, listening.apart.address))
            side = HttpServer(metrics, clock=backend.local, random_bytes=backend.chance)
            side.add_side_app(PING_PATH, app)
            await side.start([listening.apart])
            stack.push_async_callback(side.stop)
        if listening.api is not None:
            await server.start([listening.api])
            stack.push_async_callback(_stop_serving, server, core)
        yield Service(
            address=None if listening.api is None else listening.api.address,
            metrics_at=_metrics_at(settings, listening),
            where=_where(settings.store, data),
            store=store,
            core=core,
            server=server,
            open_to_others=listening.api is not None and not is_private(listening.api.address),
        )


def _pooled(store: Store, options: StoreOptions, clock: Clock, *, fall_back: bool) -> PooledStore:
    """The store as the catalogue of pools, which are opened as it was."""
    if not isinstance(store, PoolableStore):
        raise CannotStart("--pooling: this store cannot keep a catalogue of pools yet.")

    async def open_pool(uri: str) -> PoolableStore:
        try:
            pool = await _open_store(replace(options, url=uri, now=clock.now()))
            _check_durability(pool, options.required)
        except CannotStart as error:
            raise ValueError(str(error)) from error
        if not isinstance(pool, PoolableStore):
            await pool.close()
            raise ValueError("a store of that kind cannot be a pool yet")
        return pool

    return pooled(store, open_pool, clock, options.random_bytes, fall_back=fall_back)


def _collector(own: NuskaCollector, worker: Worker | None, stack: AsyncExitStack) -> Collector:
    """What is shown when somebody asks for metrics: of all workers, where there are several."""
    if worker is None:
        return own
    publishing = asyncio.create_task(publish(worker.board, worker.number, own), name="counts")
    stack.push_async_callback(_cancel, publishing)
    stack.callback(worker.board.publish, worker.number, own)
    return SummedCollector(worker.board, worker.number, own)


def _guard(settings: Settings, listening: Listening) -> Callable[[str], bool]:
    listener = listening.api or listening.apart
    return guard(settings, settings.address if listener is None else listener.address)


def _always() -> bool:
    return True


def _check_alone(settings: Settings) -> None:
    """What an embedded store cannot do is refused before its data are touched."""
    if settings.store.partition(":")[0] in ONE_PROCESS_ONLY:
        _refuse_sharing(settings)


def _check_sharing(store: Store, settings: Settings) -> None:
    """Several processes need a store that several may open."""
    if not store.capabilities.shared:
        _refuse_sharing(settings)


def _refuse_sharing(settings: Settings) -> None:
    if settings.workers > 1:
        raise CannotStart(f"--workers {settings.workers}: {ONE_OWNER}")
    if settings.role != "all":
        raise CannotStart(f"--role {settings.role}: {ONE_OWNER}")


async def _open_store(options: StoreOptions) -> Store:
    open_store: _Open = _driver_function(options.url, STORE_DRIVERS)
    try:
        return await open_store(options)
    except Unavailable as error:
        raise CannotStart(error.description) from error
    except ValueError as error:
        raise CannotStart(f"The store cannot be opened: {error}.") from error
    except OSError as error:
        reason = error.strerror or error
        raise CannotStart(f"The data in {options.data_dir} cannot be used: {reason}.") from error


def _check_durability(store: Store, required: Durability) -> None:
    if store.capabilities.durability < required:
        raise CannotStart(
            f"--require-durability {required.name.lower()}: this store does not promise that. What "
            f"an acknowledged write survives here: {store.durability}."
        )


async def _timeline(local: SystemClock, store: Store, stack: AsyncExitStack) -> Clock:
    """The clock that messages live by: the store's where nodes share it, else this machine's."""
    if not isinstance(store, SharedStore):
        _catch_up(local, store)
        return local
    clock = ServerClock(local, store.time)
    try:
        await clock.measure()
    except Unavailable as error:
        raise CannotStart(f"The store does not say what time it is: {error.description}") from error
    measuring = asyncio.create_task(clock.run(), name="the store's time")
    stack.push_async_callback(_cancel, measuring)
    return clock


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


async def migrate_store(url: str) -> bool:
    """Bring a store that an earlier version made to what this one knows; whether there was
    anything to do. Raises ``CannotStart``."""
    scheme = url.partition(":")[0]
    if scheme in STORE_DRIVERS and scheme not in STORE_MIGRATIONS:
        raise CannotStart(f"A store of the kind {scheme!r} never needs this.")
    migrate: _Migrate = _driver_function(url, STORE_MIGRATIONS)
    try:
        return await migrate(url)
    except Unavailable as error:
        raise CannotStart(error.description) from error
    except ValueError as error:
        raise CannotStart(f"The store cannot be opened: {error}.") from error


Seen: TypeAlias = Callable[[int, int], None]
"""Told how many bytes are done, of how many."""


def back_up_store(
    url: str, data: Path, target: Path, *, replace: bool, check: bool, seen: Seen
) -> int:
    """Copy a store to a file while it is in use; the file's bytes. Raises ``CannotStart``."""
    back_up = _file_function(url, STORE_BACKUPS)
    with _told("The backup cannot be written"):
        size: int = back_up(url, str(data), target, replace=replace, check=check, seen=seen)
    return size


def restore_store(url: str, data: Path, backup: Path, *, replace: bool, seen: Seen) -> Path | None:
    """Put a backup in the place of a store that nobody uses; where the one before is kept.

    Raises ``CannotStart``.
    """
    restore = _file_function(url, STORE_RESTORES)
    with _told("The backup cannot be put in place"):
        kept: Path | None = restore(url, str(data), backup, replace=replace, seen=seen)
    return kept


def _file_function(url: str, drivers: Mapping[str, str]) -> Any:
    """As ``_driver_function``, for what only a store in a file of ours has."""
    scheme = url.partition(":")[0]
    if scheme == "memory":
        raise CannotStart("A store in memory is gone with its server; there is nothing to copy.")
    if scheme in STORE_DRIVERS and scheme not in drivers:
        engine = scheme.partition("+")[0]
        with_what = f" with {BACKUP_TOOLS[engine]}" if engine in BACKUP_TOOLS else ""
        raise CannotStart(
            f"A store of the kind {scheme!r} is backed up and restored by its own engine"
            f"{with_what}: see docs/backup.md. `nuska queue export` works with every store."
        )
    return _driver_function(url, drivers)


@contextmanager
def _told(trouble: str) -> Iterator[None]:
    """What the operator is told when a file could not be worked with."""
    try:
        yield
    except Unavailable as error:
        raise CannotStart(error.description) from error
    except FileExistsError as error:
        raise CannotStart(f"{trouble}: {error.args[-1]}.") from error
    except OSError as error:
        raise CannotStart(f"{trouble}: {error.strerror or error}.") from error


def _driver_function(url: str, drivers: Mapping[str, str]) -> Any:
    """What a driver offers for this URL, imported only now."""
    scheme = url.partition(":")[0]
    if scheme not in drivers:
        known = ", ".join(f"{name}:" for name in drivers)
        raise CannotStart(f"No store is called {scheme!r}; known are {known}.")
    module, _, name = drivers[scheme].partition(":")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "nuska":
            raise
        extra = STORE_EXTRAS.get(scheme, module.rpartition(".")[2])
        raise CannotStart(
            f"The store {scheme!r} needs the Python package {error.name!r}, which is not "
            f"installed. Install it with: pip install 'nuska[{extra}]'"
        ) from error


def _catch_up(clock: SystemClock, store: Store) -> None:
    behind = clock.go_on_from(store.latest)
    if behind > TOLERATED_LAG:
        log.warning(
            "this machine's clock is behind what is stored; time goes on from what is stored",
            extra={"seconds": behind // 1000},
        )


def _metrics_at(settings: Settings, listening: Listening) -> str:
    listener = listening.apart or (listening.api if settings.metrics == "path" else None)
    if listener is None:
        return ""
    if isinstance(listener.address, UnixAddress):
        return f"http://localhost{METRICS_PATH} on {listener.address}"
    return listener.address.url + METRICS_PATH


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
    await server.stop()


async def _stop_sweeping(sweeper: Sweeper, task: asyncio.Task[None]) -> None:
    sweeper.stop()
    await task
