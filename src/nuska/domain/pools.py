"""Pools and flavors: which stores queues may lie in (contract http-v2 §8, §9).

A pool is a store by its URI; a flavor is a name for the pools that say they belong to it. A
queue lies in one pool. One without ``_flavor`` lies in a pool without a flavor, or, where there
is none, in the store that keeps the catalogue: that one is a pool by nature and has no name.
"""

import re
from typing import Any

from msgspec import Struct

OWN = ""
"""What stands for a pool's name where a queue lies in the catalogue's own store."""
MAX_POOL_NAME = 255
"""Characters, also of a flavor's name: as many as ``_flavor`` takes. Zaqar looks at none."""
MAX_POOL_URI = 2048
MAX_POOL_WEIGHT = 2**31 - 1
MAX_POOL_OPTIONS = 16_384
"""Bytes of the options object as JSON."""


CATALOG_STORE = "catalog_store"
"""What the catalogue's own store, in which queues may lie too, is called in the health document."""
MISSING_KEYS = "missing_encryption_keys"
RESERVED_POOL_NAMES = frozenset({"catalog_reachable", CATALOG_STORE, MISSING_KEYS})
"""The health document has the pools beside these keys."""
MASK = "***"
_PASSWORD = re.compile(r"(?s)(//[^/:?#]*:).*@")
"""Up to the last @: drivers take passwords with any character. Rather too much than too little."""
_QUERY_SECRET = re.compile(r"(?i)([?&][^=&#]*(?:password|secret|token|passphrase)[^=&#]*=)[^&#]*")


class Pool(Struct, frozen=True, kw_only=True):
    """One store that queues may lie in."""

    name: str
    uri: str
    """Opened as ``--store`` is. May contain a password: shown masked, logged never."""
    weight: int
    """How likely a new queue lands here, beside the other weights; 0: none does."""
    flavor: str | None = None
    options: dict[str, Any] = {}
    """Kept and shown; a driver takes its options from the URI."""
    identity: str = ""
    """Of the store that was found at the URI; not shown."""


class Flavor(Struct, frozen=True, kw_only=True):
    """A name for pools that can do the same."""

    name: str
    pools: tuple[str, ...] = ()
    """By name."""


class Carriage(Struct, frozen=True, kw_only=True):
    """How far a move of one queue, or of all the queues of a pool, has come."""

    source: str
    target: str | None
    """None: each queue goes wherever its flavor allows."""
    state: str
    """``waiting``, ``running``, ``done`` or ``failed``."""
    queues_done: int = 0
    queues_left: int = 0
    messages_done: int = 0
    messages_left: int = 0
    seconds: float = 0.0
    """How long it has run."""
    problem: str = ""
    """Why it failed, or what it waits for, in a sentence."""


class Whereabouts(Struct, frozen=True):
    """Where a queue lies."""

    pool: str
    """``OWN``: in the store that keeps the catalogue."""
    target: str | None = None
    """Whereto it is being carried, if it is."""


def masked(uri: str) -> str:
    """``uri`` for people: without what a stranger must not see."""
    return _QUERY_SECRET.sub(rf"\g<1>{MASK}", _PASSWORD.sub(rf"\g<1>{MASK}@", uri))
