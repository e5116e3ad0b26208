"""What the options of a subscription may say: the keys that mean something have a form.

Unknown keys are kept and mean nothing (contract notifications §1). ``null`` means "not set".
"""

from collections.abc import Callable

import msgspec

from nuska.domain.errors import InvalidInput
from nuska.domain.limits import MAX_SUBSCRIPTION_OPTIONS
from nuska.domain.metadata import RETRY_POLICY_KEY, check_retry_policy
from nuska.domain.subscriptions import Options

Check = Callable[[str, object], None]
"""Raises ``InvalidInput`` when the value of the key cannot be that."""


def _text(key: str, value: object) -> None:
    if not isinstance(value, str):
        raise InvalidInput(f"The value of {key} in options must be text.")


def _headers(key: str, value: object) -> None:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise InvalidInput(f"The value of {key} in options must be an object of texts.")


OPTIONS: dict[str, Check] = {
    RETRY_POLICY_KEY: check_retry_policy,
    "post_data": _text,
    "post_headers": _headers,
    "from": _text,
    "subject": _text,
    "trust_id": _text,
}
"""By key, who checks a value that is not null."""


def check_options(options: Options) -> None:
    """Raise ``InvalidInput`` naming the first option whose value is not allowed."""
    if len(msgspec.json.encode(options)) > MAX_SUBSCRIPTION_OPTIONS:
        raise InvalidInput(
            f"The options are too large: the maximum is {MAX_SUBSCRIPTION_OPTIONS} bytes."
        )
    for key, check in OPTIONS.items():
        value = options.get(key)
        if value is not None:
            check(key, value)
