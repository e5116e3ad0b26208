"""Names that no caller can choose: queues of the service's own, and keys of its records.

An internal queue is a queue like any other, of a project that begins with ``SEPARATOR``; what
callers send never has that character. So it is in nobody's lists, counts and limits. Topics
have queues too, in a namespace of their own: a topic is told from a queue of its name by the
project.
"""

import re
from typing import Literal

from nuska.domain.messages import QueueRef

SEPARATOR = "\x1f"
"""Between the parts of a name or a key; no name that a caller can choose has it."""

_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]").search

Kind = Literal["letters", "retries", "attempts", "dead", "topics", "subscriptions"]


def can_be_callers(project: str) -> bool:
    """Whether a project can be a caller's: no id of one has control characters."""
    return _CONTROL_CHARACTER(project) is None


def internal(kind: Kind, queue: QueueRef) -> QueueRef:
    """The internal queue of this kind that belongs to ``queue``."""
    return QueueRef(f"{SEPARATOR}{kind}{SEPARATOR}{queue.project}", queue.name)


def origin(ref: QueueRef, kind: Kind) -> QueueRef | None:
    """The queue whose internal queue of this kind ``ref`` is; None when it is no such queue."""
    prefix = f"{SEPARATOR}{kind}{SEPARATOR}"
    if not ref.project.startswith(prefix):
        return None
    return QueueRef(ref.project.removeprefix(prefix), ref.name)


def topic(project: str, name: str) -> QueueRef:
    """The queue that holds what was published to a topic."""
    return internal("topics", QueueRef(project, name))


_TOPICS = f"{SEPARATOR}topics{SEPARATOR}"


def is_topic(ref: QueueRef) -> bool:
    """Whether the queue is a topic's, which may have the name of one that is not."""
    return ref.project.startswith(_TOPICS)


OF_THE_SERVICE: tuple[Kind, ...] = ("retries", "attempts", "dead")
"""Queues that the service keeps beside others, for itself."""
_OF_THE_SERVICE = tuple(f"{SEPARATOR}{kind}{SEPARATOR}" for kind in OF_THE_SERVICE)
_LETTER_BOX = f"{SEPARATOR}letters{SEPARATOR}"


def is_of_the_service(project: str) -> bool:
    """Whether the queues of this project are kept by the service for itself. Topics are not."""
    return project.startswith(_OF_THE_SERVICE)


def is_letter_box(project: str) -> bool:
    """Whether the queues of this project are letter boxes: every store has its own."""
    return project.startswith(_LETTER_BOX)


def is_internal(project: str) -> bool:
    return SEPARATOR in project


def owner_of(project: str) -> str:
    """The caller's project to which an internal queue, or a topic, belongs in the end."""
    return project.rpartition(SEPARATOR)[2]


def key_of(*parts: str) -> str:
    """A record's key; keys with the same first parts stand together."""
    return SEPARATOR.join(parts)


def keys_below(*parts: str) -> tuple[str, str]:
    """Between which two keys all those stand that begin with these parts and have more:
    ``after`` and ``before`` of ``RecordStore.page``."""
    start = key_of(*parts)
    return start + SEPARATOR, start + chr(ord(SEPARATOR) + 1)
