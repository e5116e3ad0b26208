"""How often, and after which waits, a notification is tried again (contract notifications §6).

Pure arithmetic: a policy says the wait after the nth failure. Who waits, and whether a failure
is worth another attempt at all, is decided elsewhere.

Zaqar has no upper bounds. Here every key has one, so that nobody can keep a delivery busy for
ever, and whoever asks for more is told so instead of being given less.
"""

from collections.abc import Callable
from typing import Literal, get_args

from msgspec import Struct

from nuska.domain.errors import InvalidInput
from nuska.domain.moments import Duration, seconds

BackoffFunction = Literal["linear", "arithmetic", "geometric", "exponential"]
BACKOFF_FUNCTIONS: tuple[BackoffFunction, ...] = get_args(BackoffFunction)

KEY = "_retry_policy"
"""In a queue's metadata and in a subscription's options."""
MAX_IMMEDIATE_RETRIES = 10
MAX_RETRIES = 100
"""In each of the two phases with one constant delay."""
MAX_DELAY = 3600
"""Seconds between two attempts."""
MIN_DELAY_GAP = 10
"""Seconds by which the longest delay exceeds the shortest."""
BACKOFF_STEP = 5
"""Seconds: the difference of the delays divided by this is the number of attempts between."""

BOUNDS = {
    "retries_with_no_delay": MAX_IMMEDIATE_RETRIES,
    "minimum_delay_retries": MAX_RETRIES,
    "minimum_delay": MAX_DELAY - MIN_DELAY_GAP,
    "maximum_delay": MAX_DELAY,
    "maximum_delay_retries": MAX_RETRIES,
}
"""The most that each key may say; the least is 0."""


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """When to try again. The defaults make 15 attempts over 180 seconds."""

    retries_with_no_delay: int = 3
    minimum_delay_retries: int = 3
    minimum_delay: int = 5
    """Seconds, like ``maximum_delay``."""
    maximum_delay: int = 30
    maximum_delay_retries: int = 3
    retry_backoff_function: BackoffFunction = "linear"
    ignore_subscription_override: bool = False

    def delay_after(self, failures: int) -> Duration | None:
        """How long to wait after this many failures (from 1); None: that was the last attempt."""
        retry = failures - 1 - self.retries_with_no_delay
        if retry < 0:
            return Duration(0)
        if retry < self.minimum_delay_retries:
            return seconds(self.minimum_delay)
        retry -= self.minimum_delay_retries
        if retry < self.backoff_retries:
            return seconds(self._backoff(retry))
        retry -= self.backoff_retries
        return seconds(self.maximum_delay) if retry < self.maximum_delay_retries else None

    @property
    def attempts(self) -> int:
        """The first one and all retries."""
        phases = self.retries_with_no_delay, self.minimum_delay_retries, self.maximum_delay_retries
        return 1 + sum(phases) + self.backoff_retries

    @property
    def backoff_retries(self) -> int:
        """Attempts of the middle phase; at least 2, for the delays differ by two steps."""
        spread = self.maximum_delay - self.minimum_delay
        whole = spread // BACKOFF_STEP
        # The linear function goes on while it is below the longest delay.
        return -(-spread // BACKOFF_STEP) if self.retry_backoff_function == "linear" else whole

    def _backoff(self, index: int) -> int:
        function = _BACKOFF[self.retry_backoff_function]
        return function(self.minimum_delay, self.maximum_delay, self.backoff_retries, index)


def _linear(low: int, _high: int, _count: int, index: int) -> int:
    return low + BACKOFF_STEP * index


def _arithmetic(low: int, high: int, count: int, index: int) -> int:
    return low + index * (index + 1) * (high - low) // (count * (count - 1))


def _geometric(low: int, high: int, count: int, index: int) -> int:
    low = max(low, 1)  # nothing grows from 0 by being multiplied
    # The ratio first and then its power: the contract's tables round like this.
    return int(low * (((high / low) ** (1 / (count - 1))) ** index))


_BACKOFF: dict[BackoffFunction, Callable[[int, int, int, int], int]] = {
    "linear": _linear,
    "arithmetic": _arithmetic,
    "geometric": _geometric,
    "exponential": _geometric,
}

DEFAULT_POLICY = RetryPolicy()


def parse_retry_policy(policy: object, key: str = KEY) -> RetryPolicy | None:
    """The policy that a JSON value says; None for null and ``{}``, which say nothing.

    ``InvalidInput``, naming ``key``, when it is none. Keys that mean nothing are ignored.
    """
    if policy is None:
        return None
    if not isinstance(policy, dict):
        raise InvalidInput(f"The value of {key} must be a JSON object.")
    if not policy:
        return None
    given: dict[str, int] = {}
    for name, highest in BOUNDS.items():
        if name in policy:
            given[name] = _integer_within(f"{name} in {key}", policy[name], highest)
    parsed = RetryPolicy(
        **given,
        retry_backoff_function=_function(policy, key),
        ignore_subscription_override=_override(policy, key),
    )
    if parsed.maximum_delay < parsed.minimum_delay + MIN_DELAY_GAP:
        raise InvalidInput(
            f"maximum_delay in {key} must exceed minimum_delay by at least {MIN_DELAY_GAP} seconds."
        )
    return parsed


def _function(policy: dict[str, object], key: str) -> BackoffFunction:
    function = policy.get("retry_backoff_function", DEFAULT_POLICY.retry_backoff_function)
    for known in BACKOFF_FUNCTIONS:
        if function == known:
            return known
    names = ", ".join(BACKOFF_FUNCTIONS)
    raise InvalidInput(f"retry_backoff_function in {key} must be one of {names}.")


def _override(policy: dict[str, object], key: str) -> bool:
    override = policy.get("ignore_subscription_override", False)
    if not isinstance(override, bool):
        raise InvalidInput(f"ignore_subscription_override in {key} must be true or false.")
    return override


def _integer_within(what: str, value: object, highest: int) -> int:
    # A boolean passes as the integer it is (contract README §12).
    if not isinstance(value, int):
        raise InvalidInput(f"The value of {what} must be an integer.")
    if not 0 <= value <= highest:
        raise InvalidInput(f"The value of {what} must be from 0 to {highest}, not {int(value)}.")
    return int(value)


def choose(queue: RetryPolicy | None, subscription: RetryPolicy | None) -> RetryPolicy:
    """Which policy applies: the subscription's, else the queue's, else the default, unless one
    of the two says that the queue's (else the default) does. Keys are never merged."""
    override = any(each.ignore_subscription_override for each in (queue, subscription) if each)
    if subscription is not None and not override:
        return subscription
    return DEFAULT_POLICY if queue is None else queue
