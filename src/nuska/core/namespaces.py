"""Queues and topics are made alike: what tells them apart, in one place.

A topic is a queue of the service's own (``domain/internal.py``) from which nobody takes: what is
published to it is told to its subscribers, and stays until its ttl ends.
"""

from collections.abc import Callable

from msgspec import Struct

from nuska.domain.internal import topic
from nuska.domain.messages import QueueRef
from nuska.domain.metadata import (
    MAX_POST_SIZE_KEY,
    MESSAGE_DELAY_KEY,
    MESSAGE_TTL_KEY,
    SHOWN,
)


class Namespace(Struct, frozen=True, kw_only=True):
    noun: str
    """Of its permissions (``core/access.py``)."""
    word: str
    """What one is called."""
    place: Callable[[str, str], QueueRef]
    """What a project and a name mean."""
    shown: tuple[str, ...]
    """Reserved keys of metadata that readers always see."""


QUEUES = Namespace(noun="queues", word="queue", place=QueueRef, shown=SHOWN)
TOPICS = Namespace(
    noun="topics",
    word="topic",
    place=topic,
    shown=(MAX_POST_SIZE_KEY, MESSAGE_TTL_KEY, MESSAGE_DELAY_KEY),
)
