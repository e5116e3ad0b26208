"""What the settings mean for subscriptions: who may be a subscriber, whom the service may call,
and the key by which a subscriber proves that he was asked.

An embedded store gets a key of its own, beside the data, the first time. Nodes that share a
store must be given one: a key that each made for itself would be good on that node alone.
"""

import os
import secrets
from pathlib import Path

from nuska.core.confirmations import ConfirmationRules
from nuska.core.subscriptions import SubscriberRules
from nuska.domain.egress import EgressPolicy, judge_url, parse_networks
from nuska.domain.moments import seconds
from nuska.domain.signing import Signer
from nuska.files import appearing
from nuska.interfaces.notifications import Trusts
from nuska.listening import is_private
from nuska.settings import Settings

KEY_FILE = "signing.key"
"""In the data directory."""
KEY_BYTES = 32
MIN_KEY = 16
MAX_KEY = 4096
"""Characters."""


class CannotSign(Exception):
    """There is no usable signing key where one was named; the argument is a sentence."""


def egress_policy(settings: Settings) -> EgressPolicy:
    """Whom the service may call on behalf of its users. Its own machine only while nobody but
    that machine can reach the service."""
    return EgressPolicy(
        allowed=parse_networks(settings.allowed_networks),
        loopback=not settings.insecure_open and is_private(settings.address),
    )


def subscriber_rules(settings: Settings, trusts: Trusts | None = None) -> SubscriberRules:
    policy = egress_policy(settings)

    def check_url(url: str) -> None:
        judge_url(url, policy)

    return SubscriberRules(kinds=settings.subscriber_types, check_url=check_url, trusts=trusts)


def confirmation_rules(settings: Settings, data: Path, *, embedded: bool) -> ConfirmationRules:
    """Who must confirm, and by which key. Raises ``CannotSign``."""
    key = _key(settings, data, embedded=embedded)
    return ConfirmationRules(
        who=settings.require_confirmation,
        signer=None if key is None else Signer(key),
        public_url=settings.public_url.rstrip("/") or None,
        sends_mail=settings.mail.smtp_mode != "off",
        goodbye_ttl=seconds(settings.limits.default_subscription_ttl),
    )


def _key(settings: Settings, data: Path, *, embedded: bool) -> str | None:
    if settings.signing_key:
        return _checked(settings.signing_key, "signing_key")
    if settings.signing_key_file:
        return _read(Path(settings.signing_key_file))
    if not embedded:
        return None
    if settings.store.startswith("memory:"):  # a key need not outlive what it is for
        return secrets.token_hex(KEY_BYTES)
    return _own(data / KEY_FILE)


def _own(path: Path) -> str:
    """The key in ``path``, made when there is none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with appearing(path) as draft:
            os.write(draft.descriptor, f"{secrets.token_hex(KEY_BYTES)}\n".encode())
    except FileExistsError:
        pass
    except OSError as error:
        reason = error.strerror or error
        raise CannotSign(f"The signing key {path} cannot be written: {reason}") from error
    return _read(path)


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            key = file.read(MAX_KEY + 2)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise CannotSign(f"The signing key {path} cannot be read: {reason}") from error
    return _checked(key.strip(), str(path))


def _checked(key: str, where: str) -> str:
    if not MIN_KEY <= len(key) <= MAX_KEY:
        raise CannotSign(
            f"{where}: a signing key has from {MIN_KEY} to {MAX_KEY} characters, and this one "
            f"has {len(key)}"
        )
    return key
