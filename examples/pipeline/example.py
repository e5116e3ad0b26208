"""Counts the words of some texts in three stages, one of which fails now and then."""

import asyncio
import os
from collections import Counter

from stages import PROJECT, TEXTS, add, count, split

from nuska.client import DEFAULT_URL, Client, NewMessage

TEXT = "A queue is a place where work waits. Work that waits in a queue is not lost."
COPIES = 40
FAILURES = 0.2
"""Share of the attempts of the second stage that fail."""


async def run(url: str, copies: int) -> Counter[str]:
    total: Counter[str] = Counter()
    async with Client(url, project=PROJECT, transport="websocket") as client:
        texts = (NewMessage(body={"text": TEXT}) for _ in range(copies))
        async for _ in client.queue(TEXTS).post_in_batches(texts):
            pass
        splitting, counting = split(client), count(client, FAILURES)
        async with asyncio.TaskGroup() as stages:
            for worker in (splitting, counting):
                stages.create_task(worker.run())
            await add(client, total, copies).run()
            for worker in (splitting, counting):
                worker.stop()
    return total


def main() -> None:
    total = asyncio.run(run(os.environ.get("NUSKA_URL", DEFAULT_URL), COPIES))
    for word, number in total.most_common(5):
        print(f"{number:4} {word}")
    print(f"{total.total()} words of {COPIES} texts")


if __name__ == "__main__":
    main()
