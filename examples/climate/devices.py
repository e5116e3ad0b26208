"""The two devices of a building: a thermostat that only writes, an air conditioner that only reads.

Both go on by themselves when the server has been away. A reading is posted until it is stored,
with a key by which the server knows it again; a command that nobody took in time is never taken.
"""

import asyncio
import logging
import time

from room import Room

from nuska.client import Client, ClientError, Queue

METRICS = "metrics"
"""The queue of all readings."""
METRIC_TTL = 60
"""Seconds; who was not there to see the temperature of a minute ago has missed nothing."""
COMMAND_TTL = 300
"""Seconds after which a command is no longer carried out."""
REPORT_EVERY = 0.5
"""Seconds."""
TRY_AGAIN = 0.5
"""Seconds until the next attempt when the server is away."""
WAIT = 20
"""Seconds that an air conditioner waits in the server for a command."""

log = logging.getLogger("climate")


def commands_of(building: str) -> str:
    """The queue of a building's commands."""
    return f"commands-{building}"


async def thermostat(client: Client, building: str, room: Room) -> None:
    """Says how warm it is, for ever."""
    queue = client.queue(METRICS)
    started, number = time.time_ns(), 0
    while True:
        await asyncio.sleep(REPORT_EVERY)
        room.pass_time(REPORT_EVERY)
        number += 1
        reading = {
            "building": building,
            "number": number,
            "celsius": round(room.celsius, 2),
            "target": room.target,
            "working": room.working,
            "at": time.time_ns() // 1_000_000,
        }
        await _store(queue, reading, f"{building}-{started}-{number}")


async def _store(queue: Queue, reading: dict[str, object], key: str) -> None:
    """Post a reading once, however long that takes."""
    while True:
        try:
            await queue.post(reading, ttl=METRIC_TTL, key=key)
        except ClientError as error:
            log.info("a reading has to wait: %s", error)
            await asyncio.sleep(TRY_AGAIN)
        else:
            return


async def air_conditioner(client: Client, building: str, room: Room) -> None:
    """Does what the last command says, for ever.

    It only looks at its queue, so that a credential for reading is enough.
    """
    queue = client.queue(commands_of(building))
    last = None
    while True:
        try:
            async for command in queue.messages(marker=last, wait=WAIT, follow=True):
                last = command.id
                match command.body:
                    case {"target": int() | float() as target}:
                        room.target = float(target)
                    case _:
                        log.warning("no command: %s", command.id)
        except ClientError as error:
            log.info("no commands for now: %s", error)
            await asyncio.sleep(TRY_AGAIN)
