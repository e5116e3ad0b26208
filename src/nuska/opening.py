"""Opens what serves callers, below any transport: the store, its clock, the core.

Also used where there is no server of ours: by ``nuska.wsgi``. What cannot be is refused here, in
a sentence for the operator, before anybody is served.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from nuska.core import Core, build_core
from nuska.delivering import CannotSend
from nuska.domain.errors import Unavailable
from nuska.domain.policy import PolicyError
from nuska.drivers import CannotStart, open_store, place_of
from nuska.encrypting import CannotEncrypt, key_vault
from nuska.ending import ended
from nuska.identifying import Keystone, keystone_of
from nuska.interfaces.clock import Clock
from nuska.interfaces.notifications import SubscribableStore
from nuska.interfaces.pooling import Placement, PoolableStore
from nuska.interfaces.storage import Durability, SelectiveStore, SharedStore, Store, StoreOptions
from nuska.limiting import quota_of_all
from nuska.permitting import access_by
from nuska.settings import Settings
from nuska.sharing import CannotSign, sharing_rules
from nuska.stores.pooled import PooledStore, pooled
from nuska.stores.pooled.catalogue import POOLS
from nuska.subscribing import confirmation_rules, subscriber_rules
from nuska.system import Chance, SystemClock
from nuska.upkeep.store_clock import ServerClock

NODE_BYTES = 8
"""Of the random word by which this process is told from others on the store."""

TOLERATED_LAG = 1000
"""Milliseconds by which the clock may lag behind the store without a word."""

ONE_PROCESS_ONLY = frozenset({"sqlite", "memory"})
"""Stores that one process has to itself, by URL scheme."""

ONE_OWNER = (
    "this store belongs to one process at a time, which serves and does the background work. "
    "Leave --workers and --role alone, or keep messages in a store that processes share, "
    "such as --store redis://HOST or postgresql://HOST/DATABASE."
)

log = logging.getLogger("nuska.assembly")


class Backend(Struct, frozen=True, kw_only=True):
    """What serves callers, below any transport."""

    store: Store
    core: Core
    local: SystemClock
    chance: Chance
    keystone: Keystone | None
    """Where that says who is calling."""


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
        store = await open_store(options)
        stack.push_async_callback(store.close)
        _check_durability(store, required)
        _check_sharing(store, settings)
        if not settings.limits.pooling:
            await _refuse_catalogue(store)
        clock = await _timeline(local, store, stack)
        placement: Placement | None = None
        if settings.limits.pooling:
            together = _pooled(store, options, clock, fall_back=settings.enable_virtual_pool)
            stack.push_async_callback(together.close)
            store, placement = together, together.placement
        shared = store if isinstance(store, SharedStore) else None
        alone = settings.store.partition(":")[0] in ONE_PROCESS_ONLY
        try:
            sharing = sharing_rules(settings, data, embedded=alone)
            access = access_by(settings.policy_file)
        except (CannotSign, PolicyError) as error:
            raise CannotStart(f"{error}.") from error
        try:
            vault = key_vault(settings, store, clock, chance, alone=alone)
        except CannotEncrypt as error:
            raise CannotStart(f"{error}.") from error
        try:
            keystone = await stack.enter_async_context(keystone_of(settings, clock))
        except CannotSend as error:
            raise CannotStart(str(error)) from error
        core = build_core(
            store=store,
            clock=clock,
            limits=settings.limits,
            random_bytes=chance,
            tell=None if shared is None else shared.tell,
            max_waiters=max_waiters,
            placement=placement,
            subscribers=subscriber_rules(settings, None if keystone is None else keystone.trusts),
            live=settings.live,
            vault=vault,
            confirmation=confirmation_rules(settings, sharing.signer),
            sharing=sharing,
            access=access,
            quota=quota_of_all(settings),
            node=None if shared is None else chance(NODE_BYTES).hex(),
        )
        stack.push_async_callback(core.usage.close)
        await _watch_quotas(core, stack, shared=shared is not None)
        if isinstance(shared, SelectiveStore):
            core.wakeups.attend(shared)
        if shared is not None:
            hearing = asyncio.create_task(shared.hear_others(core.wakeups.hear), name="other nodes")
            stack.push_async_callback(ended, hearing)
        yield Backend(store=store, core=core, local=local, chance=chance, keystone=keystone)


async def _watch_quotas(core: Core, stack: AsyncExitStack, *, shared: bool) -> None:
    """Know the quotas of projects before anybody is served, and hear of changes."""
    try:
        await core.quota_book.read()
    except Unavailable as error:
        raise CannotStart(f"The quotas of projects cannot be read: {error.description}") from error
    tasks = [asyncio.create_task(core.rates.run(), name="rates of projects")]
    if shared:
        tasks.append(asyncio.create_task(core.quota_book.run(), name="quotas of projects"))
    stack.push_async_callback(ended, *tasks)


def _pooled(store: Store, options: StoreOptions, clock: Clock, *, fall_back: bool) -> PooledStore:
    """The store as the catalogue of pools, which are opened as it was."""
    if not isinstance(store, PoolableStore):
        raise CannotStart("--pooling: this store cannot keep a catalogue of pools yet.")

    async def open_pool(uri: str) -> PoolableStore:
        try:
            pool = await open_store(replace(options, url=uri, now=clock.now()))
            _check_durability(pool, options.required)
        except CannotStart as error:
            raise ValueError(str(error)) from error
        if not isinstance(pool, PoolableStore):
            await pool.close()
            raise ValueError("a store of that kind cannot be a pool yet")
        return pool

    return pooled(
        store,
        open_pool,
        clock,
        options.random_bytes,
        fall_back=fall_back,
        place_of=lambda uri: place_of(uri, options.data_dir),
    )


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


async def _refuse_catalogue(store: Store) -> None:
    """Without its pools a catalogue shows queues empty that are not, and takes posts in that
    nobody finds again."""
    if isinstance(store, SubscribableStore) and await store.records.page(POOLS, limit=1):
        raise CannotStart(
            "The store is the catalogue of pools, and queues may lie in them: say --pooling."
        )


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
    stack.push_async_callback(ended, measuring)
    return clock


def _catch_up(clock: SystemClock, store: Store) -> None:
    behind = clock.go_on_from(store.latest)
    if behind > TOLERATED_LAG:
        log.warning(
            "this machine's clock is behind what is stored; time goes on from what is stored",
            extra={"seconds": behind // 1000},
        )
