import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nuska.interfaces.storage import StoreOptions
from nuska.stores.sqlite.store import SqliteStore, open_sqlite
from nuska.testing.clock import START, ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def options(tmp_path: Path) -> StoreOptions:
    return StoreOptions(url="sqlite:", data_dir=str(tmp_path), now=START, random_bytes=os.urandom)


@pytest.fixture
async def sqlite(options: StoreOptions) -> AsyncIterator[SqliteStore]:
    store = await open_sqlite(options)
    yield store
    await store.close()
