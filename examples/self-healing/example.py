"""A monitor, a repairer, and three services of which one is beyond repair."""

import asyncio
import os
import tempfile
from pathlib import Path

from monitor import PROJECT, UNREPAIRED, prepare, watch
from repairer import repairer
from services import Services

from nuska.client import DEFAULT_URL, Client

WAIT = 2
"""Seconds to wait in the server with one claim."""
STATES = {"database": "ok", "mail": "stopped", "printer": "broken"}


async def heal(url: str, services: Services) -> str:
    """Until somebody has to come: the first service that nobody could repair."""
    async with Client(url, project=PROJECT) as client, asyncio.TaskGroup() as group:
        await prepare(client)
        monitor = group.create_task(watch(client, services))
        worker = repairer(client, services)
        repairing = group.create_task(worker.run())
        service = await unrepaired(client)
        monitor.cancel()
        worker.stop()
        await repairing
    return service


async def unrepaired(client: Client) -> str:
    """Waits where faults end that were tried too often, as somebody on duty would."""
    while True:
        async with client.queue(UNREPAIRED).claim(wait=WAIT) as claim:
            for message in claim:
                await message.delete()
                return str(message.body["service"])


def main() -> None:
    url = os.environ.get("NUSKA_URL", DEFAULT_URL)
    with tempfile.TemporaryDirectory() as folder:
        services = Services(Path(folder))
        for name, state in STATES.items():
            services.set(name, state)
        beyond = asyncio.run(heal(url, services))
        for name in services.names():
            print(f"{name}: {services.state(name)}")
    print(f"somebody has to look at: {beyond}")


if __name__ == "__main__":
    main()
