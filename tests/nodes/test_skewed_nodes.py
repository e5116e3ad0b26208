"""Nodes whose clocks are minutes apart, on every shared store that was asked for.

On all of them at once: what takes time is a claim of a minute that has to end, and they can end
together.
"""

import asyncio
from contextlib import ExitStack
from pathlib import Path

import pytest

from nuska.testing.conformance.skewed_nodes import live_on_one_timeline
from nuska.testing.engines import ENGINES


@pytest.mark.slow
async def test_nodes_whose_clocks_are_minutes_apart_live_on_one_timeline_on_every_store(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    asked = str(pytestconfig.getoption("stores")).split(",")
    with ExitStack() as engines:
        places = {name: tmp_path / name for name in ENGINES if name in asked}
        urls = {
            place: engines.enter_context(ENGINES[name](place / "engine")).new_url()
            for name, place in places.items()
        }
        assert urls
        await asyncio.gather(*(live_on_one_timeline(place, url) for place, url in urls.items()))
