"""One building: its devices, each with a connection of its own.

python building.py north --transport websocket
"""

import argparse
import asyncio
import logging
import os
from datetime import UTC, datetime, timedelta

from devices import METRICS, air_conditioner, commands_of, thermostat
from room import Room

from nuska.client import DEFAULT_URL, Client, SignedUrl, Transport

PROJECT = "climate"
START, TARGET = 27.0, 22.0
"""Degrees Celsius."""
GOOD_FOR = timedelta(days=1)
"""Then somebody has to come and sign anew."""


async def run(url: str, name: str, transport: Transport) -> None:
    """Simulate a building, for ever."""
    room = Room(START, TARGET)
    # Whoever sets up the building may sign; the devices themselves get what was signed, no more.
    async with Client(url, project=PROJECT, token=os.environ.get("NUSKA_TOKEN")) as owner:
        writes, reads = await signed_for(owner, name, GOOD_FOR)
    async with (
        device(url, writes, transport) as writer,
        device(url, reads, transport) as reader,
        asyncio.TaskGroup() as devices,
    ):
        devices.create_task(thermostat(writer, name, room), name=f"thermostat {name}")
        devices.create_task(air_conditioner(reader, name, room), name=f"air conditioner {name}")


async def signed_for(owner: Client, name: str, good_for: timedelta) -> tuple[SignedUrl, SignedUrl]:
    """What the thermostat of a building gets, to write, and its air conditioner, to read."""
    until = datetime.now(UTC) + good_for
    metrics, commands = owner.queue(METRICS), owner.queue(commands_of(name))
    return (
        await metrics.signed_urls.share(methods=["POST"], expires=until),
        await commands.signed_urls.share(methods=["GET"], expires=until),
    )


def device(url: str, signed: SignedUrl, transport: Transport) -> Client:
    """A client that can do what was signed."""
    return Client(url, project=signed.project, transport=transport, headers=signed.headers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--transport", choices=["http", "websocket"], default="http")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    url = os.environ.get("NUSKA_URL", DEFAULT_URL)
    asyncio.run(run(url, arguments.name, arguments.transport))


if __name__ == "__main__":
    main()
