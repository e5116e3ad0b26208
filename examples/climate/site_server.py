"""Serves the page: three files, the JavaScript module, and where the queues are.

The page's own server knows nothing of messages; the browser talks to the queue server itself.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from building import PROJECT

HERE = Path(__file__).resolve().parent
MODULE = HERE.parents[1] / "clients" / "javascript"


@asynccontextmanager
async def site(url: str, buildings: list[str], port: int) -> AsyncIterator[str]:
    """The page's address, for as long as the context lasts."""

    async def page(request: web.Request) -> web.FileResponse:
        return web.FileResponse(HERE / "page" / "index.html")

    async def settings(request: web.Request) -> web.Response:
        return web.json_response({"url": url, "project": PROJECT, "buildings": buildings})

    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_get("/settings.json", settings)
    app.router.add_static("/page", HERE / "page")
    app.router.add_static("/nuska", MODULE)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()
