"""Looks at the services again and again, and posts a message for each that does not run."""

import asyncio
import time

from services import Services

from nuska.client import Client

PROJECT = "operations"
FAULTS, UNREPAIRED = "faults", "unrepaired"
LOOK_EVERY = 0.2
"""Seconds."""
FAULT_TTL = 300
"""Seconds in which a fault is worth repairing; the monitor finds it again if it is still there."""
ATTEMPTS = 3
"""Repairs that are tried before a fault goes to the people."""


async def prepare(client: Client) -> None:
    """What could not be repaired goes into a queue that somebody reads."""
    metadata = {"_max_claim_count": ATTEMPTS, "_dead_letter_queue": UNREPAIRED}
    if not await client.queue(FAULTS).create(metadata):
        await client.queue(FAULTS).update(metadata)


async def watch(client: Client, services: Services) -> None:
    """Look, for ever."""
    while True:
        for name in services.names():
            if services.state(name) != "ok":
                # However often it is seen, and by however many monitors, within a minute the
                # same fault is stored once: the key says which one it is.
                key = f"{name}-{int(time.time()) // 60}"
                await client.queue(FAULTS).post({"service": name}, ttl=FAULT_TTL, key=key)
        await asyncio.sleep(LOOK_EVERY)
