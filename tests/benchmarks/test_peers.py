"""The phases of the comparison with other brokers, on a broker that is a list."""

import json

import pytest
from benchmarks.peers.peer import JOB_BYTES, job
from benchmarks.peers.phases import CLAIM_SIZE, measure


class List:
    name = "a list"
    durability = "none"
    in_flight = 3
    claimers = 2

    def __init__(self, *, lost: int = 0) -> None:
        self.waiting: list[int] = []
        self.deleted: list[int] = []
        self.settlements = 0
        self._lost = lost

    async def post(self, number: int) -> None:
        self.waiting.append(number)

    async def claim(self, most: int) -> list[int]:
        assert most == CLAIM_SIZE
        claimed, self.waiting = self.waiting[:most], self.waiting[most:]
        return claimed + claimed[: self._lost]

    async def delete(self, claimed: list[int]) -> None:
        assert self.settlements == 0
        self.deleted += claimed

    async def settled(self) -> None:
        self.settlements += 1


async def test_every_job_is_posted_claimed_and_deleted_once() -> None:
    broker = List()
    rates = await measure(broker, 95)
    assert sorted(broker.deleted) == list(range(95))
    assert (broker.waiting, broker.settlements) == ([], 1)
    assert min(rates) > 0


async def test_a_broker_that_hands_out_a_job_twice_has_no_rate() -> None:
    with pytest.raises(RuntimeError, match="handed out"):
        await measure(List(lost=1), 95)


def test_all_jobs_have_the_same_size() -> None:
    assert {len(json.dumps(job(number))) for number in (1, 99_999)} == {JOB_BYTES}
