"""What the settings mean for encrypted queues: the operator's keys, and the vault they open.

There is no key unless the operator brings one: a key that lay beside the data would protect
nothing.
"""

import logging
from pathlib import Path

from nuska.core.vault import KeyVault
from nuska.domain.moments import seconds
from nuska.domain.sealing import BadKey, OperatorKeys
from nuska.interfaces.clock import Clock
from nuska.interfaces.notifications import SubscribableStore
from nuska.interfaces.storage import RandomBytes, Store
from nuska.settings import Settings

MAX_KEYS = 100
MAX_FILE = 16_384
"""Bytes."""


log = logging.getLogger("nuska.encrypting")


class CannotEncrypt(Exception):
    """There is no usable key where one was named; the argument is a sentence."""


def key_vault(
    settings: Settings, store: Store, clock: Clock, random_bytes: RandomBytes, *, alone: bool
) -> KeyVault | None:
    """The vault of a store; None without keys. ``alone``: no other process can use the store.
    Raises ``CannotEncrypt``."""
    keys = _keys(settings)
    if not keys:
        return None
    if not isinstance(store, SubscribableStore):
        raise CannotEncrypt("This store cannot keep the keys of encrypted queues")
    try:
        operator = OperatorKeys(keys)
    except BadKey as error:
        raise CannotEncrypt(f"The encryption keys cannot be used: {error}") from None
    life = seconds(settings.encryption_key_life)
    return KeyVault(store.records, operator, clock, random_bytes, key_life=life, alone=alone)


def tell_of_missing(keys: list[str]) -> None:
    """Once, when a process starts: what requests would find out one by one."""
    if keys:
        log.warning(
            "an encryption key is missing: what needs it can be neither posted nor read",
            extra={"keys": ", ".join(keys)},
        )


def _keys(settings: Settings) -> tuple[str, ...]:
    keys = settings.encryption_keys or _read(settings.encryption_keys_file)
    if len(keys) > MAX_KEYS:
        raise CannotEncrypt(f"There are more than {MAX_KEYS} encryption keys")
    return keys


def _read(name: str) -> tuple[str, ...]:
    if not name:
        return ()
    try:
        with Path(name).open(encoding="utf-8") as file:
            text = file.read(MAX_FILE + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise CannotEncrypt(f"The encryption keys {name} cannot be read: {reason}") from error
    keys = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not keys or len(text) > MAX_FILE:
        raise CannotEncrypt(f"The file {name} holds no encryption keys")
    return keys
