"""Data on its way through three stages: texts → words → counts.

Each stage is a worker between two queues. What it hands on carries a key made of what it was
made from: should a stage die between handing on and deleting, the same is done again and
stored once. So however often something fails, every count is right.
"""

import random
from collections import Counter
from collections.abc import Awaitable, Callable

from nuska.client import ClaimedMessage, Client, GiveBack, Worker

PROJECT = "pipeline"
TEXTS, WORDS, COUNTS = "texts", "words", "counts"
AT_ONCE = 8
"""Messages of one stage at a time."""

Handler = Callable[[ClaimedMessage], Awaitable[None]]


def split(client: Client) -> Worker:
    """Texts into words."""

    async def handle(message: ClaimedMessage) -> None:
        words = [word.strip(".,;:!?").lower() for word in message.body["text"].split()]
        await client.queue(WORDS).post({"words": words}, key=message.id)

    return stage(client, TEXTS, handle)


def count(client: Client, failures: float = 0.0) -> Worker:
    """Words into counts. That share of its attempts fails, in the worst moment: the result is
    handed on, and its source not deleted yet."""

    async def handle(message: ClaimedMessage) -> None:
        counts = dict(Counter(message.body["words"]))
        await client.queue(COUNTS).post({"counts": counts}, key=message.id)
        if random.random() < failures:
            raise GiveBack

    return stage(client, WORDS, handle)


def add(client: Client, total: Counter[str], texts: int) -> Worker:
    """Counts into one sum; ends after so many texts."""
    added = set()

    async def handle(message: ClaimedMessage) -> None:
        if message.id not in added:
            added.add(message.id)
            total.update(message.body["counts"])
        if len(added) == texts:
            worker.stop()

    worker = stage(client, COUNTS, handle)
    return worker


def stage(client: Client, source: str, handle: Handler) -> Worker:
    return Worker(client.queue(source), handle, jobs=AT_ONCE, ttl=60)
