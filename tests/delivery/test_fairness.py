"""Projects whose endpoints hang hold up no other project's, however many they are."""

import asyncio
from collections.abc import Callable

from nuska.delivery.bounds import DeliveryBounds
from nuska.domain.messages import QueueRef
from nuska.testing.delivering import DeliveryBench

SLOTS = 8
HANGING = 30
"""Endpoints of each project."""
PROJECTS = ("one", "two", "three")


async def hang(bench: DeliveryBench, project: str) -> list[asyncio.Event]:
    """So many endpoints of the project take a message and do not answer."""
    queue = QueueRef(project, "jobs")
    answers = []
    for number in range(HANGING):
        subscriber = f"http://{project}{number}.example/"
        answers.append(asyncio.Event())
        bench.sender.hanging[subscriber] = answers[-1]
        await bench.subscribe(subscriber, queue=queue)
    await bench.post("x", "y", "z", queue=queue)
    return answers


async def until(bench: DeliveryBench, reached: Callable[[], bool]) -> None:
    """As attempts begin."""
    async with asyncio.timeout(20):
        while not reached():
            bench.sender.began.clear()
            await bench.sender.began.wait()


async def test_a_new_endpoint_of_another_project_is_next_when_hanging_ones_hold_every_slot(
    bench: DeliveryBench,
) -> None:
    bench.new_engine(DeliveryBounds(in_flight=SLOTS, in_flight_per_project=SLOTS))
    answers = [each for project in PROJECTS for each in await hang(bench, project)]
    settled = asyncio.create_task(bench.engine.settled())
    await until(bench, lambda: sum(bench.sender.under_way.values()) == SLOTS // 2)
    queue = QueueRef("four", "jobs")
    for number in range(3):
        await bench.subscribe(f"http://four{number}.example/", queue=queue)
    await bench.post("new", queue=queue)
    let_go = 0
    while bench.sender.bodies().count("new") < 3:
        held = [d.subscriber for d in bench.sender.sent if bench.sender.under_way[d.subscriber]]
        before = len(bench.sender.sent)
        bench.sender.hanging[held[0]].set()
        let_go += 1
        await until(bench, lambda before=before: len(bench.sender.sent) > before)
    assert let_go <= 3 * (len(PROJECTS) + 1), "as many turns as there are projects, for each"
    for answer in answers:
        answer.set()
    async with asyncio.timeout(60):
        await settled
