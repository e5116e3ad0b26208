"""Orders go from East to West, one of them while West is away."""

import asyncio
import os
import tempfile
from pathlib import Path

from sites import ORDERS, PROJECT, forward, sign, take

from nuska.client import DEFAULT_URL, Client
from nuska.testing.server_process import ServerProcess

PATIENCE = 120.0
"""Seconds for everything."""


async def run(east_url: str, west: ServerProcess) -> list[object]:
    async with asyncio.timeout(PATIENCE), Client(east_url, project=PROJECT) as east:
        async with Client(west.url, project=PROJECT) as client:
            await forward(east, west.url + await sign(client))
            await east.queue(ORDERS).post({"order": 1})
            orders = await take(client, 1)
        print(f"West has {orders}", flush=True)

        await asyncio.to_thread(west.terminate)
        print("West is away", flush=True)
        await east.queue(ORDERS).post({"order": 2})
        await asyncio.to_thread(west.start)
        print("West is back", flush=True)
        await east.queue(ORDERS).post({"order": 3})

        async with Client(west.url, project=PROJECT) as client:
            orders += await take(client, 2)
    return orders


def main() -> None:
    url = os.environ.get("NUSKA_URL", DEFAULT_URL)
    with tempfile.TemporaryDirectory() as data, ServerProcess(Path(data)) as west:
        orders = asyncio.run(run(url, west))
    print(f"West has {orders}")


if __name__ == "__main__":
    main()
