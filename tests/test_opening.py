"""What cannot be served is refused before anybody is served."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from nuska.domain.errors import Conflict
from nuska.domain.limits import Limits
from nuska.domain.messages import NewMessage, QueueRef
from nuska.domain.moments import seconds
from nuska.domain.pools import Pool
from nuska.drivers import CannotStart
from nuska.opening import Backend, opened
from nuska.settings import Settings
from nuska.stores.pooled import PooledStore
from nuska.stores.pooled.catalogue import POOLS


async def test_a_catalogue_of_pools_is_not_served_without_them(tmp_path: Path) -> None:
    with_pools = Settings(limits=Limits(pooling=True))
    async with opened(Settings(), tmp_path):
        pass
    async with opened(with_pools, tmp_path) as backend:
        assert backend.core.pools is not None
        records = backend.store.records  # type: ignore[attr-defined]  # every store has them
        await records.put(POOLS, "one", b"{}", version="")
    with pytest.raises(CannotStart, match="--pooling"):
        async with opened(Settings(), tmp_path):
            pass


JOBS = QueueRef("acme", "jobs")
SPELLINGS = pytest.mark.parametrize(
    "spelling", ["./one.db", "x/../one.db", "/one.db", "again.db", "beside/one.db"]
)


def pool(name: str, path: str) -> Pool:
    return Pool(name=name, uri=f"sqlite://{path}", weight=1)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory in which ``again.db`` and ``beside/one.db`` are other names for ``one.db``."""
    here = tmp_path / "files"
    (here / "x").mkdir(parents=True)
    (here / "again.db").symlink_to("one.db")
    (here / "beside").symlink_to(here)
    return here


@pytest.fixture
async def backend(tmp_path: Path, files: Path) -> AsyncIterator[Backend]:
    """A message lies in its pool ``one``, which so is open."""
    async with opened(Settings(limits=Limits(pooling=True)), tmp_path) as backend:
        assert isinstance(backend.store, PooledStore)
        await backend.store.placement.put_pool(pool("one", f"{files}/one.db"))
        message = NewMessage(body=b"1", ttl=seconds(60))
        await backend.store.messages.add(JOBS, [message], now=backend.core.clock.now())
        yield backend


@SPELLINGS
async def test_a_file_is_one_pool_however_its_path_is_written(
    backend: Any, files: Path, spelling: str
) -> None:
    with pytest.raises(Conflict, match="The pool one is at that uri already"):
        await backend.store.placement.put_pool(pool("two", f"{files}/{spelling}"))


@SPELLINGS
async def test_a_pool_whose_path_is_written_in_another_way_stays_what_it_was(
    backend: Any, files: Path, spelling: str
) -> None:
    await backend.store.placement.put_pool(pool("one", f"{files}/{spelling}"))
    (found,) = await backend.store.messages.pop(JOBS, limit=2, now=backend.core.clock.now())
    assert found.body == b"1"
