"""When a notification is tried again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nuska.domain.errors import InvalidInput
from nuska.domain.moments import seconds
from nuska.domain.retries import (
    BACKOFF_FUNCTIONS,
    BOUNDS,
    DEFAULT_POLICY,
    MAX_DELAY,
    MIN_DELAY_GAP,
    RetryPolicy,
    choose,
    parse_retry_policy,
)


def waits(policy: RetryPolicy) -> list[int]:
    """Every wait of the policy, in seconds, until it gives up."""
    found = []
    while (delay := policy.delay_after(len(found) + 1)) is not None:
        found.append(delay)
        assert len(found) < 10_000
    assert all(delay % seconds(1) == 0 for delay in found)
    return [delay // seconds(1) for delay in found]


def test_the_default_policy_makes_fifteen_attempts_over_180_seconds() -> None:
    assert waits(DEFAULT_POLICY) == [0, 0, 0, 5, 5, 5, 5, 10, 15, 20, 25, 30, 30, 30]
    assert DEFAULT_POLICY.attempts == 15
    assert sum(waits(DEFAULT_POLICY)) == 180


# The table of the contract, row by row.
@pytest.mark.parametrize(
    ("low", "high", "function", "expected"),
    [
        (5, 30, "linear", [5, 10, 15, 20, 25]),
        (5, 30, "arithmetic", [5, 7, 12, 20, 30]),
        (5, 30, "geometric", [5, 7, 12, 19, 30]),
        (5, 30, "exponential", [5, 7, 12, 19, 30]),
        (1, 60, "linear", [1, 6, 11, 16, 21, 26, 31, 36, 41, 46, 51, 56]),
        (1, 60, "arithmetic", [1, 2, 4, 7, 11, 17, 23, 31, 39, 49, 60]),
        (1, 60, "geometric", [1, 1, 2, 3, 5, 7, 11, 17, 26, 39, 59]),
        (1, 60, "exponential", [1, 1, 2, 3, 5, 7, 11, 17, 26, 39, 59]),
        (10, 20, "linear", [10, 15]),
        (10, 20, "arithmetic", [10, 20]),
        (10, 20, "geometric", [10, 20]),
        (10, 20, "exponential", [10, 20]),
    ],
)
def test_the_middle_phase_waits_as_its_function_says(
    low: int, high: int, function: str, expected: list[int]
) -> None:
    policy = parse_retry_policy(
        {
            "retries_with_no_delay": 0,
            "minimum_delay_retries": 0,
            "maximum_delay_retries": 0,
            "minimum_delay": low,
            "maximum_delay": high,
            "retry_backoff_function": function,
        }
    )
    assert policy is not None
    assert waits(policy) == expected
    assert policy.backoff_retries == len(expected)


@pytest.mark.parametrize("function", BACKOFF_FUNCTIONS)
def test_a_least_delay_of_nothing_works_with_every_function(function: str) -> None:
    policy = parse_retry_policy({"minimum_delay": 0, "retry_backoff_function": function})
    assert policy is not None
    assert waits(policy)[6:-3][0] <= 1
    assert waits(policy) == sorted(waits(policy))


@pytest.mark.parametrize("nothing", [None, {}])
def test_a_policy_that_says_nothing_is_none(nothing: object) -> None:
    assert parse_retry_policy(nothing) is None


def test_keys_without_a_meaning_are_ignored() -> None:
    assert parse_retry_policy({"colour": []}) == DEFAULT_POLICY


@pytest.mark.parametrize(
    "policy",
    [
        [],
        "linear",
        0,
        False,
        {"retries_with_no_delay": "3"},
        {"retries_with_no_delay": ""},
        {"minimum_delay_retries": 1.5},
        {"maximum_delay_retries": None},
        {"minimum_delay": []},
        {"minimum_delay": 25},
        {"minimum_delay": 1, "maximum_delay": 10},
        {"maximum_delay": 14},
        {"retry_backoff_function": "random"},
        {"retry_backoff_function": []},
        {"retry_backoff_function": ""},
        {"ignore_subscription_override": "yes"},
        {"ignore_subscription_override": 0},
        *({key: highest + 1} for key, highest in BOUNDS.items()),
        *({key: -1} for key in BOUNDS),
    ],
)
def test_what_is_no_policy_is_refused_with_the_name_of_the_key(policy: object) -> None:
    with pytest.raises(InvalidInput, match="_retry_policy"):
        parse_retry_policy(policy)


QUEUE = RetryPolicy(minimum_delay=1)
SUBSCRIPTION = RetryPolicy(minimum_delay=2)
FINAL = RetryPolicy(minimum_delay=3, ignore_subscription_override=True)


@pytest.mark.parametrize(
    ("queue", "subscription", "chosen"),
    [
        (None, None, DEFAULT_POLICY),
        (QUEUE, None, QUEUE),
        (None, SUBSCRIPTION, SUBSCRIPTION),
        (QUEUE, SUBSCRIPTION, SUBSCRIPTION),
        (FINAL, SUBSCRIPTION, FINAL),
        (QUEUE, FINAL, QUEUE),
        (None, FINAL, DEFAULT_POLICY),
    ],
)
def test_the_subscriptions_policy_applies_unless_one_says_otherwise(
    queue: RetryPolicy | None, subscription: RetryPolicy | None, chosen: RetryPolicy
) -> None:
    assert choose(queue, subscription) == chosen


@given(
    low=st.integers(0, MAX_DELAY - MIN_DELAY_GAP),
    more=st.integers(MIN_DELAY_GAP, MAX_DELAY),
    function=st.sampled_from(BACKOFF_FUNCTIONS),
    counts=st.tuples(st.integers(0, 10), st.integers(0, 100), st.integers(0, 100)),
)
def test_every_policy_ends_and_waits_within_its_bounds(
    low: int, more: int, function: str, counts: tuple[int, int, int]
) -> None:
    high = min(low + more, MAX_DELAY)
    policy = parse_retry_policy(
        {
            "retries_with_no_delay": counts[0],
            "minimum_delay_retries": counts[1],
            "maximum_delay_retries": counts[2],
            "minimum_delay": low,
            "maximum_delay": high,
            "retry_backoff_function": function,
        }
    )
    assert policy is not None
    found = waits(policy)
    assert len(found) == policy.attempts - 1
    assert found == sorted(found)
    assert all(low <= wait <= high for wait in found[counts[0] :])
