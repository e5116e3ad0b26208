"""Takes faults and repairs them. What it cannot repair it gives back; the queue counts."""

from monitor import FAULTS
from services import Services

from nuska.client import ClaimedMessage, Client, GiveBack, Worker

BETWEEN_ATTEMPTS = 0.5
"""Seconds."""


def repairer(client: Client, services: Services) -> Worker:
    async def repair(message: ClaimedMessage) -> None:
        name = message.body["service"]
        if services.state(name) == "ok":
            return  # repaired by somebody else, or by itself
        try:
            services.start(name)
        except RuntimeError as error:
            print(f"not repaired: {error}", flush=True)
            raise GiveBack from error
        print(f"repaired: {name}", flush=True)

    return Worker(client.queue(FAULTS), repair, retry_delay=BETWEEN_ATTEMPTS, ttl=60)
