"""What the tests of the JavaScript module share: pages that load it, and a browser for them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from nuska.testing.browser import Browser
from nuska.testing.server_process import ServerProcess

MODULE = Path(__file__).resolve().parents[2] / "clients" / "javascript"
PAGE = """<!doctype html><title>test</title>
<script type="module">
  import * as nuska from "/nuska/nuska.js";
  Object.assign(window, nuska);
  window.loaded = true;
</script>"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "data") as running:
        yield running


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    async with Browser(tmp_path) as browser:
        yield browser


@pytest.fixture
async def site() -> AsyncIterator[str]:
    """Where a page is that has the module; not where the queues are."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_static("/nuska", MODULE)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()
