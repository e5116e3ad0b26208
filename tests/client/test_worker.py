"""A worker goes through a queue of the real server: done, given back, stopped, away."""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from nuska.client import (
    BadRequest,
    CannotConnect,
    Client,
    GiveBack,
    NewMessage,
    Queue,
    RetryPolicy,
    Worker,
)
from nuska.client import worker as settings
from nuska.testing.server_process import ServerProcess


@pytest.fixture(scope="module")
def nuska(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("data"), store="memory:") as running:
        yield running


@pytest.fixture
async def jobs(nuska: ServerProcess) -> AsyncIterator[Queue]:
    async with Client(nuska.url, project=f"project-{uuid.uuid4().hex}") as client:
        yield client.queue("jobs")


async def fill(queue: Queue, count: int) -> None:
    await queue.post_many([NewMessage(body=number) for number in range(count)])


async def test_a_worker_empties_a_queue_in_order(jobs):
    await fill(jobs, 30)
    seen = []

    async def note(message):
        seen.append(message.body)

    report = await Worker(jobs, note, until_empty=True).run()
    assert seen == list(range(30))
    assert (report.done, report.failed) == (30, 0)
    assert (await jobs.stats()).total == 0


async def test_several_jobs_run_at_the_same_time(jobs):
    await fill(jobs, 3)
    together = asyncio.Barrier(3)

    async def meet(message):
        await together.wait()

    report = await asyncio.wait_for(Worker(jobs, meet, jobs=3, until_empty=True).run(), 20)
    assert report.done == 3


async def test_a_message_that_fails_is_given_back_and_the_others_are_not_held_up(jobs, caplog):
    await fill(jobs, 5)
    seen = []

    async def fail_the_first(message):
        seen.append(message.body)
        if message.body == 0:
            raise ZeroDivisionError("no")

    report = await Worker(jobs, fail_the_first, until_empty=True).run()
    assert seen == [0, 1, 2, 3, 4]
    assert (report.done, report.failed) == (4, 1)
    assert [message.body async for message in jobs.messages()] == [0]
    assert "ZeroDivisionError" in caplog.text


async def test_a_failed_message_comes_again_after_its_delay(jobs, caplog):
    await fill(jobs, 1)
    attempts = 0

    async def fail_twice(message):
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise GiveBack
        worker.stop()

    worker = Worker(jobs, fail_twice, retry_delay=0.01, wait=5)
    report = await worker.run()
    assert (report.done, report.failed) == (1, 2)
    assert caplog.text == ""


async def test_a_worker_that_runs_until_empty_gives_up_when_everything_fails(jobs, monkeypatch):
    monkeypatch.setattr(settings, "MOST_HELD_BACK", 3)
    await fill(jobs, 20)

    async def fail(message):
        raise GiveBack

    report = await Worker(jobs, fail, until_empty=True).run()
    assert (report.done, report.failed) == (0, 4)
    assert (await jobs.stats()).free == 20


async def test_a_worker_takes_no_more_than_asked(jobs):
    await fill(jobs, 5)

    async def nothing(message):
        pass

    report = await Worker(jobs, nothing, most=2, jobs=4).run()
    assert report.done == 2
    assert (await jobs.stats()).free == 3


async def test_a_stopped_worker_finishes_what_it_has(jobs):
    await fill(jobs, 2)
    begun, finish = asyncio.Event(), asyncio.Event()

    async def work(message):
        begun.set()
        await finish.wait()

    worker = Worker(jobs, work)
    running = asyncio.create_task(worker.run())
    await begun.wait()
    worker.stop()
    finish.set()
    report = await running
    assert report.done == 1
    stats = await jobs.stats()
    assert (stats.free, stats.claimed) == (1, 0)


async def test_an_idle_worker_stops_without_waiting_out_its_poll(jobs):
    async def never(message):
        raise AssertionError

    worker = Worker(jobs, never, wait=30)
    running = asyncio.create_task(worker.run())
    await asyncio.sleep(0.1)  # most likely it waits by now; true either way
    worker.stop()
    await asyncio.wait_for(running, 10)
    await jobs.post(1)
    assert (await jobs.stats()).free == 1


async def test_a_cancelled_worker_gives_back_what_it_has(jobs):
    await fill(jobs, 1)
    begun = asyncio.Event()

    async def work(message):
        begun.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(Worker(jobs, work).run())
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (await jobs.stats()).free == 1


async def test_a_mistake_in_the_terms_ends_the_worker(jobs):
    async def never(message):
        raise AssertionError

    with pytest.raises(BadRequest, match="ttl"):
        await Worker(jobs, never, ttl=1).run()


async def test_a_server_that_restarts_is_waited_for(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(settings, "SERVER_AWAY", RetryPolicy(first=0.05, longest=0.1))
    caplog.set_level(logging.ERROR)
    done = asyncio.Event()

    async def note(message):
        done.set()

    with ServerProcess(tmp_path) as running:
        once = RetryPolicy(attempts=1)
        async with Client(running.url, project="shop", retry=once) as client:
            queue = client.queue("jobs")
            worker = Worker(queue, note, wait=1)
            work = asyncio.create_task(worker.run())
            running.kill()
            await asyncio.sleep(0.2)
            await asyncio.to_thread(running.start)
            await queue.post("after the restart")
            await asyncio.wait_for(done.wait(), 20)
            worker.stop()
            assert (await work).done == 1


async def test_work_that_is_done_is_not_done_again_because_the_server_restarts(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(settings, "SERVER_AWAY", RetryPolicy(first=0.05, longest=0.1))
    seen = []
    kept_trying = asyncio.Event()

    with ServerProcess(tmp_path) as running:

        async def work_while_the_server_goes_away(message):
            seen.append(message.body)
            running.kill()

        def notice(record):
            if "cannot be deleted now" in record.getMessage():
                kept_trying.set()
            return True

        monkeypatch.setattr(settings.log, "filters", [notice])
        once = RetryPolicy(attempts=1)
        async with Client(running.url, project="shop", retry=once) as client:
            queue = client.queue("jobs")
            await queue.post("once")
            worker = Worker(queue, work_while_the_server_goes_away, retry_delay=0, wait=1)
            work = asyncio.create_task(worker.run())
            await asyncio.wait_for(kept_trying.wait(), 20)
            await asyncio.to_thread(running.start)
            async with asyncio.timeout(20):
                while (await queue.stats()).total:
                    pass
            worker.stop()
            report = await work
    assert (seen, report.done, report.failed) == (["once"], 1, 0)
    assert "Traceback" not in caplog.text


async def test_a_stopped_worker_does_not_wait_for_a_server_that_is_away(tmp_path):
    with ServerProcess(tmp_path) as running:
        once = RetryPolicy(attempts=1)
        async with Client(running.url, project="shop", retry=once) as client:

            async def work_while_everything_ends(message):
                running.kill()
                worker.stop()

            await client.queue("jobs").post("done, but nobody knows")
            worker = Worker(client.queue("jobs"), work_while_everything_ends, wait=1)
            report = await asyncio.wait_for(worker.run(), 20)
    assert (report.done, report.failed) == (0, 1)


async def test_a_server_that_is_away_ends_a_worker_that_runs_until_empty(tmp_path):
    async def never(message):
        raise AssertionError

    once = RetryPolicy(attempts=1)
    async with Client(f"unix:{tmp_path}/none", project="shop", retry=once) as client:
        with pytest.raises(CannotConnect):
            await Worker(client.queue("jobs"), never, until_empty=True).run()
