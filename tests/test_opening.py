"""What cannot be served is refused before anybody is served."""

from pathlib import Path

import pytest

from nuska.domain.limits import Limits
from nuska.drivers import CannotStart
from nuska.opening import opened
from nuska.settings import Settings
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
