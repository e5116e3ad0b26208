"""The phases of the comparison with other brokers, on a broker that is a list."""

import json
from contextlib import asynccontextmanager

import pytest
from benchmarks.peers.comparison import compare
from benchmarks.peers.peer import JOB_BYTES, Claimed, job
from benchmarks.peers.phases import CLAIM_SIZE, PHASES, measure


class List:
    name = "a list"
    durability = "none"
    in_flight = 3
    claimers = 2

    def __init__(self, *, twice: int = 0) -> None:
        self.waiting: list[int] = []
        self.deleted: list[int] = []
        self.settlements = 0
        self._twice = twice

    def pids(self) -> list[int]:
        return []

    async def post(self, number: int) -> None:
        self.waiting.append(number)

    async def claim(self, most: int) -> list[Claimed]:
        assert most == CLAIM_SIZE
        numbers, self.waiting = self.waiting[:most], self.waiting[most:]
        claimed = [Claimed(number, job(number)) for number in numbers]
        return claimed + claimed[: self._twice]

    async def delete(self, claimed: list[Claimed]) -> None:
        assert self.settlements == 0
        self.deleted += [one.handle for one in claimed]

    async def settled(self) -> None:
        self.settlements += 1


async def test_every_job_is_posted_claimed_and_deleted_once() -> None:
    broker = List()
    found = await measure(broker, 95)
    assert sorted(broker.deleted) == list(range(95))
    assert (broker.waiting, broker.settlements) == ([], 1)
    assert min(found.rate(phase) for phase in PHASES) > 0


async def test_a_broker_that_hands_out_a_job_twice_has_no_rate() -> None:
    with pytest.raises(RuntimeError, match="handed out"):
        await measure(List(twice=1), 95)


async def test_two_brokers_take_turns_and_each_phase_has_a_ratio(tmp_path) -> None:
    turns: list[str] = []

    def opened(name: str):
        @asynccontextmanager
        async def broker(_directory):
            class Named(List):
                async def settled(self) -> None:
                    await super().settled()
                    turns.append(name)
                    self.settlements = 0

            one = Named()
            one.name = name
            yield one

        return broker

    pair = await compare("b", opened("a"), opened("b"), tmp_path, jobs=40, rounds=3)
    assert turns == [*"ab", *"ba", *"ab", *"ba"]  # the first to warm up
    figures = list(pair.ratios(target=True))
    assert [figure.name.partition(":")[0] for figure in figures] == list(PHASES)
    assert all(figure.value > 0 and figure.target is not None for figure in figures)


def test_all_jobs_have_the_same_size() -> None:
    assert {len(json.dumps(job(number))) for number in (1, 99_999)} == {JOB_BYTES}
