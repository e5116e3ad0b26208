"""Two buildings and the page that shows them, until interrupted.

One building's devices speak HTTP, the other's WebSocket; nobody else can tell.
"""

import argparse
import asyncio
import errno
import logging
import os
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import building
from site_server import site

from nuska.client import DEFAULT_URL

BUILDINGS = {"north": "http", "south": "websocket"}
PAGE_PORT = 8080


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=PAGE_PORT, help="of the page; 0: a free one")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    url = os.environ.get("NUSKA_URL", DEFAULT_URL)
    async with AsyncExitStack() as stack:
        try:
            page = await stack.enter_async_context(site(url, list(BUILDINGS), arguments.port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            another = f"make example NAME=climate ARGS='--port {arguments.port + 1}'"
            sys.exit(f"Port {arguments.port} is taken. Choose another for the page: {another}")
        print(f"The page is at {page}", flush=True)
        await run_buildings(url)


async def run_buildings(url: str) -> None:
    async with asyncio.TaskGroup() as devices:
        tasks = [
            devices.create_task(building.run(url, name, transport))
            for name, transport in BUILDINGS.items()
        ]
        phone = f"{sys.executable} {Path(__file__).with_name('phone.py')}"
        print(f"The phone: NUSKA_URL={url} {phone} show", flush=True)
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        await stopped.wait()
        for task in tasks:
            task.cancel()


if __name__ == "__main__":
    asyncio.run(main())
