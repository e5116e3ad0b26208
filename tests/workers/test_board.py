"""What workers have counted, added up: nothing twice, nothing lost when one of them dies."""

import os
from collections.abc import Iterator

import pytest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from nuska.workers import board as shared
from nuska.workers.board import Board, SummedCollector


class Counts:
    """A collector with three numbers."""

    def __init__(self, requests: float, waiters: float = 0, slow: float = 0) -> None:
        self.requests = requests
        self.waiters = waiters
        self.slow = slow

    def collect(self) -> Iterator[Metric]:
        answers = CounterMetricFamily("requests", "Answers.", labels=["status"])
        answers.add_metric(["200"], self.requests)
        yield answers
        yield GaugeMetricFamily("waiters", "Who wait.", value=self.waiters)
        histogram = HistogramMetricFamily("seconds", "How long.")
        histogram.add_metric([], [("1.0", self.requests), ("+Inf", self.requests)], self.slow)
        yield histogram


def shown(board: Board, number: int, own: Counts) -> dict[str, float]:
    return {
        sample.name + str(sample.labels.get("status", sample.labels.get("le", ""))): sample.value
        for metric in SummedCollector(board, number, own).collect()
        for sample in metric.samples
    }


def publish_elsewhere(board: Board, number: int, counts: Counts) -> int:
    """In a process of its own, as workers are; its id."""
    pid = os.fork()
    if pid == 0:
        board.publish(number, counts)
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


class Limits:
    """A collector of what is the same for every worker."""

    def collect(self) -> Iterator[Metric]:
        limits = GaugeMetricFamily("nuska_quota_limit", "Limits.", labels=["limit"])
        limits.add_metric(["messages"], 100)
        yield limits


def test_what_every_worker_says_alike_is_not_added_up() -> None:
    families = [shared._families(Limits().collect()) for _ in range(3)]
    assert [sample.value for sample in shared.summed(families)[0].samples] == [100]


def test_whoever_is_asked_answers_for_all() -> None:
    board = Board(3)
    publish_elsewhere(board, 1, Counts(10, waiters=2, slow=0.5))
    publish_elsewhere(board, 2, Counts(100, waiters=3, slow=0.25))
    said = shown(board, 0, Counts(1, waiters=1, slow=1))
    assert said["requests_total200"] == 111
    assert said["waiters"] == 6
    assert (said["seconds_bucket1.0"], said["seconds_sum"]) == (111, 1.75)


def test_its_own_counts_are_those_of_now() -> None:
    board = Board(2)
    counts = Counts(1)
    board.publish(0, counts)
    counts.requests = 5
    assert shown(board, 0, counts)["requests_total200"] == 5


def test_what_a_dead_worker_counted_goes_on_counting_and_what_it_had_at_hand_does_not() -> None:
    board = Board(2)
    first = publish_elsewhere(board, 1, Counts(10, waiters=4))
    board.retire(1, first)
    said = shown(board, 0, Counts(1))
    assert (said["requests_total200"], said["waiters"]) == (11, 0)
    assert said["nuska_workers_ended_total"] == 1
    second = publish_elsewhere(board, 1, Counts(100, waiters=1))
    assert shown(board, 0, Counts(1))["requests_total200"] == 111
    board.retire(1, second)
    assert shown(board, 0, Counts(1))["requests_total200"] == 111


def test_a_worker_that_died_before_it_said_anything_adds_nothing() -> None:
    board = Board(2)
    first = publish_elsewhere(board, 1, Counts(10))
    board.retire(1, first)
    board.retire(1, first + 1)
    assert shown(board, 0, Counts(0))["requests_total200"] == 10


def test_half_of_a_writing_is_never_shown() -> None:
    board = Board(2)
    publish_elsewhere(board, 1, Counts(10))
    start = shared._PLACE
    hidden = 1 - board._memory[start]
    at = start + shared.mmap.PAGESIZE + hidden * shared.HALF
    board._memory[at : at + 100] = b"\xff" * 100  # whoever was writing here has died
    assert shown(board, 0, Counts(1))["requests_total200"] == 11
    board._memory[start] = hidden
    assert shown(board, 0, Counts(1))["requests_total200"] == 1


def test_more_than_there_is_room_for_leaves_what_was_written_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    board = Board(2)
    publish_elsewhere(board, 1, Counts(10))
    monkeypatch.setattr(shared, "HALF", 64)
    publish_elsewhere(board, 1, Counts(20))
    monkeypatch.undo()
    assert shown(board, 0, Counts(0))["requests_total200"] == 10
