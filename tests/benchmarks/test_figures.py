"""Ratios, percentiles and targets: the arithmetic every figure rests on."""

import pytest
from benchmarks.figures import (
    Figure,
    at_least,
    at_most,
    counted,
    percentile,
    ratio_of_rounds,
    shown,
)


def figure(value: float, **settings: object) -> Figure:
    return Figure(phase="p", name="n", value=value, unit="×", **settings)


def test_a_target_is_met_on_its_good_side_and_at_its_edge() -> None:
    assert [at_least(2).met_by(value) for value in (1.9, 2.0, 2.1)] == [False, True, True]
    assert [at_most(2).met_by(value) for value in (1.9, 2.0, 2.1)] == [True, True, False]


def test_a_figure_without_a_target_is_neither_met_nor_missed() -> None:
    assert figure(1.0).met is None
    assert figure(1.0, target=at_least(2)).met is False


def test_the_margin_says_how_often_the_target_fits_in_whichever_side_is_good() -> None:
    assert at_least(2).margin(6) == 3
    assert at_most(6).margin(2) == 3
    assert at_most(2).margin(4) == 0.5
    assert at_most(2).margin(0) == float("inf")


def test_a_slow_spell_of_the_machine_does_not_move_the_ratio() -> None:
    assert ratio_of_rounds([100, 10, 100], [200, 20, 200]) == 0.5


def test_one_odd_round_does_not_move_the_ratio() -> None:
    assert ratio_of_rounds([100, 100, 5], [200, 200, 200]) == 0.5


def test_a_reference_that_did_nothing_is_an_error_and_not_a_ratio() -> None:
    with pytest.raises(ValueError, match="reference"):
        ratio_of_rounds([1.0], [0.0])


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1), (1, 1), (50, 50), (99, 99), (99.5, 100), (100, 100)]
)
def test_a_percentile_is_a_value_that_was_measured(percent: float, expected: int) -> None:
    values = list(range(100, 0, -1))
    assert percentile(values, percent) == expected


def test_a_percentile_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.3512, "×", "0.35×"),
        (15.42, "×", "15.4×"),
        (12345.6, "/s", "12 346/s"),
        (187.4, "MB", "187 MB"),
        (0.0, "ms", "0.00 ms"),
    ],
)
def test_a_value_is_shown_with_three_digits_that_count(value: float, unit: str, text: str) -> None:
    assert shown(value, unit) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(10, "10"), (100, "10²"), (1_000_000, "10⁶"), (2000, "2 000"), (250, "250")],
)
def test_a_count_is_written_as_people_write_it(count: int, text: str) -> None:
    assert counted(count) == text
