"""The climate example: devices, phone and page, with a server that goes away in between.

With NUSKA_PICTURE set to a path, the picture of the page that is in the documents is written
there: `NUSKA_PICTURE=docs/climate.png .venv/bin/pytest tests/examples/test_climate.py`.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nuska.testing.browser import Browser, Page
from nuska.testing.server_process import ServerProcess

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "climate" / "example.py"
STOP_WITHIN = 20.0
"""Seconds."""
ENOUGH = 40
"""Readings for a chart on which one sees something."""


@pytest.fixture
def page_address(environment: dict[str, str]) -> Iterator[str]:
    """Devices and page run; this is where the page is."""
    process = subprocess.Popen(
        [sys.executable, str(EXAMPLE), "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        assert process.stdout is not None
        found = re.match(r"The page is at (\S+)", process.stdout.readline())
        assert found
        yield found[1]
        process.terminate()
        assert process.wait(STOP_WITHIN) == 0
    finally:
        process.kill()
        process.wait(STOP_WITHIN)
        process.stdout.close()


async def readings(page: Page) -> dict[str, int]:
    counts = await page.ask("({...document.querySelector('#counts').dataset})")
    return {name: int(number) for name, number in counts.items()}


async def more_readings(page: Page, count: int) -> None:
    """So many more than now are there."""
    now = (await readings(page)).get("readings", 0)
    await page.until(f"Number(document.querySelector('#counts').dataset.readings) >= {now + count}")


async def test_page_and_phone_see_and_set_temperatures_through_a_restart_of_the_server(
    server: ServerProcess,
    page_address: str,
    run: Callable[..., str],
    tmp_path: Path,
) -> None:
    async with Browser(tmp_path) as browser:
        page = await browser.open(page_address)
        await page.until("document.querySelector('#state').dataset.state === 'open'")
        await more_readings(page, 4)

        # The page sets a temperature; the building's air conditioner gets there.
        await page.fill("#north input", "19.5")
        await page.click("#north button")
        await page.until("document.querySelector('#north').dataset.target === '19.5'")
        # The phone sets one; the page shows it.
        assert "south is told" in run("climate/phone.py", "set", "south", "24.5")
        await page.until("document.querySelector('#south').dataset.target === '24.5'")
        assert re.search(r"^north +\d+\.\d °C +set to 19.5 °C", run("climate/phone.py", "show"))

        server.terminate()
        await page.until("document.querySelector('#state').dataset.state === 'waiting'")
        server.start()
        await page.until("document.querySelector('#state').dataset.state === 'open'")
        await more_readings(page, 4)
        await page.fill("#south input", "20")
        await page.click("#south button")
        await page.until("document.querySelector('#south').dataset.target === '20'")

        await more_readings(page, max(0, ENOUGH - (await readings(page))["readings"]))
        counted = await readings(page)
        assert (counted["missed"], counted["repeated"]) == (0, 0)
        points = "document.querySelectorAll('polyline.celsius')[0].points.numberOfItems"
        assert await page.ask(points) > ENOUGH / 4
        assert list(page.said) == []
        picture = tmp_path / "climate.png"
        await page.picture(picture)
        if wanted := os.environ.get("NUSKA_PICTURE"):
            shutil.copy(picture, wanted)
