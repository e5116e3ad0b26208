"""Stores that a test opens by URL, whatever the driver, and that are closed with it."""

import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from typing import Protocol

from nuska.domain.moments import Moment
from nuska.drivers import STORE_DRIVERS
from nuska.interfaces.storage import Durability, RandomBytes, Store, StoreOptions
from nuska.testing.clock import START


class Open(Protocol):
    """Opens a store that a fixture closes."""

    def __call__(
        self, url: str, *, required: Durability = Durability.NONE, now: Moment = START
    ) -> Awaitable[Store]: ...


async def open_by_url(
    url: str,
    *,
    required: Durability = Durability.NONE,
    now: Moment = START,
    random_bytes: RandomBytes = os.urandom,
) -> Store:
    """The driver's own answer to ``url``, with its own errors. For stores that need no data
    directory: shared ones."""
    module, _, name = STORE_DRIVERS[url.partition(":")[0]].partition(":")
    options = StoreOptions(
        url=url, data_dir="", now=now, random_bytes=random_bytes, required=required
    )
    store: Store = await getattr(import_module(module), name)(options)
    return store


@asynccontextmanager
async def opening_stores() -> AsyncIterator[Open]:
    """Gives a function that opens one more store; all are closed at the end."""
    async with AsyncExitStack() as stack:

        async def open_one(
            url: str, *, required: Durability = Durability.NONE, now: Moment = START
        ) -> Store:
            store = await open_by_url(url, required=required, now=now)
            stack.push_async_callback(store.close)
            return store

        yield open_one
