"""Tasks that are told to end do end."""

import asyncio

from nuska.ending import ended


async def test_a_task_that_lost_its_cancellation_is_told_again() -> None:
    told = 0

    async def deaf_at_first() -> None:
        nonlocal told
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                told += 1
                if told > 1:
                    raise

    task = asyncio.create_task(deaf_at_first())
    await asyncio.sleep(0)
    await asyncio.wait_for(ended(task), 30)
    assert task.cancelled()
    assert told == 2


async def test_how_tasks_end_and_whether_they_had_is_of_no_account() -> None:
    async def fail() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError

    async def be_done() -> None: ...

    done = asyncio.create_task(be_done())
    failing = asyncio.create_task(fail())
    await asyncio.sleep(0)
    await asyncio.wait_for(ended(done, failing), 30)
    assert isinstance(failing.exception(), ValueError)
    await ended()
