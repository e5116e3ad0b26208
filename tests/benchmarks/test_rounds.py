"""Rounds take turns, and the calm ones count."""

from benchmarks.rounds import CALM, compared
from benchmarks.wrk import Load, Report


def load(requests: int, *, others: float = 0.0) -> Load:
    report = Report(
        requests=requests,
        micros=1_000_000,
        refused=0,
        broken=0,
        timeouts=0,
        claimed=0,
        empty=0,
        p50=1,
        p99=2,
        max=3,
    )
    return Load(report=report, server_cores=0.9, wrk_cores=0.2, other_cores=others)


def test_every_side_runs_in_every_round_and_no_side_is_always_first() -> None:
    order: list[str] = []

    def side(name: str) -> Load:
        order.append(name)
        return load(1)

    compared(4, lambda: side("a"), lambda: side("b"))
    assert order == ["a", "b", "b", "a", "a", "b", "b", "a"]


def test_a_disturbed_round_is_run_again_and_left_out_on_all_sides() -> None:
    noise = iter([0.0, CALM * 2, 0.0, 0.0])
    ours, theirs = iter([10, 11, 12, 13]), iter([20, 21, 22, 23])
    kept = compared(3, lambda: load(next(ours), others=next(noise)), lambda: load(next(theirs)))
    assert [[each.report.requests for each in side] for side in kept] == [
        [10, 12, 13],
        [20, 22, 23],
    ]


def test_on_a_machine_that_is_never_calm_the_rounds_still_end() -> None:
    (kept,) = compared(2, lambda: load(1, others=CALM * 5))
    assert len(kept) == 2
