"""A machine that starts with its clock in the past: time goes on all the same (I5)."""

import asyncio
from pathlib import Path

import apsw

from nuska.client import Client
from nuska.client.queues import Queue
from nuska.testing.server_process import ServerProcess

HOUR = 3_600_000


def set_forward(data: Path) -> None:
    """As if the service had last run an hour from now."""
    connection = apsw.Connection(str(data / "nuska.db"))
    connection.execute("UPDATE timeline SET last_moment = last_moment + ?", (HOUR,))
    connection.close()


async def age_of_newest(queue: Queue) -> int:
    newest = (await queue.stats()).newest
    assert newest is not None
    return newest.age


async def test_messages_age_though_the_clock_is_an_hour_behind_what_is_stored(
    tmp_path: Path,
) -> None:
    with ServerProcess(tmp_path) as server:
        async with Client(server.url, project="acme") as client:
            await client.queue("jobs").post(["work"])
        assert server.terminate() == 0
        set_forward(tmp_path)
        server.start()
        assert "clock is behind what is stored" in server.output
        async with Client(server.url, project="acme") as client:
            jobs = client.queue("jobs")
            await jobs.post(["more work"])
            first = await age_of_newest(jobs)
            async with asyncio.timeout(10):
                while await age_of_newest(jobs) == first:  # noqa: ASYNC110  nobody tells us
                    await asyncio.sleep(0.1)
