"""How things are called in Redis: keys that no name of a project or queue can run into.

    <prefix>{project:name}:…    a queue; the braces make it one hash slot
    <prefix>{project}:queues    the names of a project's queues, sorted
    <prefix>due:{0}…            which queues have something to clear away, and when
    <prefix>records:{/name}:…   a collection of records

Project and name are written with every byte but letters, digits and ``_.-~`` escaped, so
a colon or brace in a name is never one in a key, and a key can be read back.
"""

import re
from urllib.parse import quote, unquote
from zlib import crc32

from nuska.domain.messages import QueueRef

DUE_SHARDS = 8
"""So that the index of a big cluster does not lie on one server."""
HEADER = "queue"

_END = b"\x00\x00"
_ESCAPED_NUL = b"\x00\x01"


class Names:
    """Every key of one store, which is everything that begins with ``prefix``."""

    def __init__(self, prefix: str) -> None:
        if "{" in prefix or "}" in prefix:
            raise ValueError("a key prefix has no braces")
        self._prefix = prefix
        self.hints = f"{prefix}hints"
        """The channel of hints to everybody; no key."""
        self.all_hints = f"{_literally(self.hints)}:*"
        """A pattern: the channels of all classes."""
        self.due = [f"{prefix}due:{{{shard}}}" for shard in range(DUE_SHARDS)]

    def header(self, queue: QueueRef) -> str:
        """The key of the hash that every function of this queue is given."""
        return f"{self._prefix}{{{tag(queue)}}}:{HEADER}"

    def part(self, queue: QueueRef, part: str) -> str:
        """A key beside the header, as ``library/state.lua`` names it."""
        return f"{self._prefix}{{{tag(queue)}}}:{part}"

    def hints_of(self, number: int) -> str:
        """The channel of hints of one class of queues."""
        return f"{self.hints}:{number:04x}"

    def class_of_hints(self, channel: str) -> int | None:
        """The class that has this channel; None for the channel to everybody."""
        number = channel.removeprefix(self.hints)
        return int(number[1:], 16) if number else None

    def records(self, collection: str) -> list[str]:
        """Rows and keys of a collection of records."""
        stem = f"{self._prefix}records:{{/{_escaped(collection)}}}:"
        return [f"{stem}rows", f"{stem}keys"]

    def listing(self, project: str) -> str:
        return f"{self._prefix}{{{_escaped(project)}}}:queues"

    def due_of(self, queue: QueueRef) -> str:
        """The part of the due index in which this queue is; the same on every node."""
        return self.due[crc32(tag(queue).encode()) % DUE_SHARDS]


def tag(queue: QueueRef) -> str:
    """Project and name as one text, unlike that of any other queue."""
    return f"{_escaped(queue.project)}:{_escaped(queue.name)}"


def queue_of_tag(text: str) -> QueueRef:
    project, _, name = text.partition(":")
    return QueueRef(unquote(project), unquote(name))


def _escaped(name: str) -> str:
    return quote(name, safe="")


def listed(name: str, listing: str) -> bytes:
    """A member of a project's listing: sorted by code point of the name."""
    return _sortable(name) + _END + listing.encode()


def after_name(name: str) -> bytes:
    """Sorts after every member for ``name`` and before those of the next name."""
    return _sortable(name) + _END + b"\xff"


def _literally(text: str) -> str:
    """A pattern that matches ``text`` and nothing else."""
    return re.sub(r"([*?\[\]\\^])", r"\\\1", text)


def _sortable(name: str) -> bytes:
    return name.encode().replace(b"\x00", _ESCAPED_NUL)


def name_and_listing(member: bytes) -> tuple[str, str]:
    name, _, listing = member.rpartition(_END)
    return name.replace(_ESCAPED_NUL, b"\x00").decode(), listing.decode()
