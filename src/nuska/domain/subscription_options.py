"""What the options of a subscription may say: the keys that mean something have a form.

Unknown keys are kept and mean nothing (contract notifications §1). ``null`` means "not set".
"""

import msgspec

from nuska.domain import filters, retries
from nuska.domain.errors import InvalidInput
from nuska.domain.limits import MAX_SUBSCRIPTION_OPTIONS
from nuska.domain.mails import parse_mail_options
from nuska.domain.subscriptions import Options
from nuska.domain.webhooks import parse_webhook_options

ORDERED_KEY = "ordered"
"""True: one message at a time, in the order of the queue."""
TRUST_KEY = "trust_id"


def check_options(options: Options) -> int:
    """How many bytes they are. Raises ``InvalidInput`` naming the first option whose value is not
    allowed."""
    size = len(msgspec.json.encode(options))
    if size > MAX_SUBSCRIPTION_OPTIONS:
        raise InvalidInput(
            f"The options are too large: the maximum is {MAX_SUBSCRIPTION_OPTIONS} bytes."
        )
    retries.parse_retry_policy(options.get(retries.KEY))
    filters.parse_filter(options.get(filters.KEY))
    parse_webhook_options(options)
    parse_mail_options(options)
    if not isinstance(options.get(TRUST_KEY), str | None):
        raise InvalidInput(f"The value of {TRUST_KEY} in options must be text.")
    if not isinstance(options.get(ORDERED_KEY), bool | None):
        raise InvalidInput(f"The value of {ORDERED_KEY} in options must be true or false.")
    return size
