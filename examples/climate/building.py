"""One building: its devices, each with a connection of its own.

python building.py north --transport websocket
"""

import argparse
import asyncio
import logging
import os

from devices import METRICS, air_conditioner, commands_of, thermostat
from room import Room

from nuska.client import DEFAULT_URL, Client, SignedUrl, Transport

PROJECT = "climate"
START, TARGET = 27.0, 22.0
"""Degrees Celsius."""


async def run(url: str, name: str, transport: Transport) -> None:
    """Simulate a building, for ever."""
    room = Room(START, TARGET)
    # Whoever sets up the building may sign; the devices themselves get what was signed, no more.
    async with Client(url, project=PROJECT) as owner:
        writes = await owner.queue(METRICS).signed_urls.share(methods=["POST"])
        reads = await owner.queue(commands_of(name)).signed_urls.share(methods=["GET"])
    async with (
        device(url, writes, transport) as writer,
        device(url, reads, transport) as reader,
        asyncio.TaskGroup() as devices,
    ):
        devices.create_task(thermostat(writer, name, room), name=f"thermostat {name}")
        devices.create_task(air_conditioner(reader, name, room), name=f"air conditioner {name}")


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
