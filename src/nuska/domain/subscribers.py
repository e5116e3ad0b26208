"""Whom a subscription may name: the form of a subscriber, before anything is asked of it.

Nothing is looked up. What the URL of a webhook may point to is judged by whoever knows the
operator's rules for outgoing connections.
"""

import re
from collections.abc import Callable, Collection
from urllib.parse import unquote, urlsplit

from nuska.domain.errors import InvalidInput
from nuska.domain.internal import SEPARATOR
from nuska.domain.limits import MAX_QUEUE_NAME, MAX_RECIPIENTS, MAX_SUBSCRIBER
from nuska.domain.messages import QueueRef
from nuska.domain.metadata import is_queue_name

CheckUrl = Callable[[str], None]
"""Raises ``InvalidInput`` for a URL (``http://`` or ``https://``) that must not be called."""

KINDS = ("http", "https", "mailto", "trust+http", "trust+https", "queue")
"""Schemes of subscribers that there are senders for."""
TRUST = "trust+"
_MAX_ADDRESS = 254
"""Characters of an address of mail (RFC 5321)."""


def check_subscriber(
    subscriber: str, queue: QueueRef, kinds: Collection[str], check_url: CheckUrl
) -> None:
    """Raise ``InvalidInput`` when no subscription of ``queue`` may name this subscriber."""
    if not 0 < len(subscriber) <= MAX_SUBSCRIBER:
        raise InvalidInput(
            f"The value of subscriber must have from 1 to {MAX_SUBSCRIBER} characters."
        )
    if not subscriber.isprintable() or " " in subscriber:
        raise InvalidInput("The value of subscriber must not have blanks or control characters.")
    scheme, colon, rest = subscriber.partition(":")
    scheme = scheme.lower()
    if not colon or scheme not in kinds:
        known = ", ".join(f"{kind}:" for kind in kinds)
        raise InvalidInput(f"The value of subscriber must begin with one of {known}")
    if scheme == "mailto":
        _check_addresses(rest)
    elif scheme == "queue":
        _check_queue(rest, queue)
    else:
        _check_host(rest)
        check_url(f"{scheme.removeprefix(TRUST)}:{rest}")


def recipients(subscriber: str) -> list[str]:
    """The addresses in ``mailto:A,B?subject=…``."""
    path = subscriber.partition(":")[2].partition("?")[0]
    return [unquote(address).strip() for address in path.split(",") if address.strip()]


def _check_addresses(rest: str) -> None:
    addresses = recipients(f"mailto:{rest}")
    if not 0 < len(addresses) <= MAX_RECIPIENTS:
        raise InvalidInput(f"A mailto: subscriber must have from 1 to {MAX_RECIPIENTS} addresses.")
    for address in addresses:
        name, at, domain = address.rpartition("@")
        plain = address.isprintable() and not set(address) & set(' ,;:<>()[]\\"')
        if not (name and at and domain and plain and len(address) <= _MAX_ADDRESS):
            raise InvalidInput("A mailto: subscriber must have addresses such as name@example.org.")
    if not unquote(rest).isprintable():
        raise InvalidInput("A mailto: subscriber must not have control characters.")


def _check_queue(name: str, queue: QueueRef) -> None:
    if not is_queue_name(name):
        raise InvalidInput(
            f"After queue: comes the name of a queue of the project: 1 to {MAX_QUEUE_NAME} "
            "letters, digits, underscores, hyphens or dots."
        )
    if name == queue.name and SEPARATOR not in queue.project:
        raise InvalidInput("A queue cannot be a subscriber of itself.")


def _check_host(rest: str) -> None:
    try:
        host = urlsplit(f"http:{rest}").hostname if rest.startswith("//") else None
    except ValueError:
        host = None
    if not host:
        raise InvalidInput("The value of subscriber is not a URL with a host.")


def without_path(subscriber: str) -> str:
    """A subscriber as others may see it: of a URL, whose path or query may be a secret, only
    scheme, host and port."""
    scheme, separator, rest = subscriber.partition("://")
    return f"{scheme}{separator}{re.split('[/?#]', rest, maxsplit=1)[0]}" if separator else scheme
