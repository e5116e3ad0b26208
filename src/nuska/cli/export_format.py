"""The file that ``nuska queue export`` writes and ``nuska queue import`` reads: JSON lines.

    {"nuska-queue": 1, "export": ID, "queue": NAME, "exported": WHEN, "metadata": {…}}
    {"id": …, "ttl": …, "age": …, "expires": WHEN, "body": …}          for each message
    {"messages": HOW MANY, "sha256": of all lines before this one}

A message further has ``delay`` (seconds left), ``claimed`` (true), ``attributes`` and
``dead_letter`` if there is something to say. Bodies are what was posted, byte for byte, but
for line breaks between their parts. Refuses what it does not know, and what lacks its end.
"""

import hashlib
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, field

from nuska.client import RawMessage
from nuska.domain.moments import Duration, Moment, iso, seconds

VERSION = 1

_BREAKS = bytes.maketrans(b"\n\r", b"  ")
"""In JSON text a line break can only stand between two parts, where a space does as well."""


class Malformed(ValueError):
    """A file, or one line of it, is not what an export is."""


class Head(Struct, frozen=True, kw_only=True):
    """The first line: what is known of the queue."""

    version: int = field(name="nuska-queue")
    export: str
    """Names this file, also among others of the same queue."""
    queue: str
    exported: str
    metadata: dict[str, Any]
    """Without what the server would say of a queue that has none."""


class End(Struct, frozen=True):
    """The last line: by it a reader knows that nothing is missing."""

    messages: int
    sha256: str


class Entry(Struct, frozen=True, kw_only=True):
    """A message, as it stands in the file."""

    body: Raw
    ttl: int
    age: int
    expires: str
    delay: int = 0
    attributes: Raw | UnsetType = UNSET

    @property
    def expires_at(self) -> Moment:
        return Moment(int(datetime.fromisoformat(self.expires).timestamp()) * 1000)

    def life_left(self, now: Moment) -> Duration:
        return Duration(self.expires_at - now)

    def delay_left(self, now: Moment) -> Duration:
        """When it was exported, ``delay`` was left."""
        due = self.expires_at - seconds(self.ttl - self.age) + seconds(self.delay)
        return Duration(max(due - now, 0))


class _Last(Struct, frozen=True):
    body: Raw | UnsetType = UNSET
    messages: int | UnsetType = UNSET
    sha256: str = ""


class Seal:
    """Counts and digests lines as they are written or read."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.messages = 0

    def add(self, line: bytes) -> None:
        self._digest.update(line)
        self._digest.update(b"\n")

    def end(self) -> End:
        return End(self.messages, self._digest.hexdigest())


def message_line(message: RawMessage, now: Moment) -> bytes:
    """A message as the server has just shown it, without the line's end."""
    head = (
        f'{{"id": "{message.id}", "ttl": {message.ttl}, "age": {message.age}, '
        f'"expires": "{iso(Moment(now + seconds(message.ttl - message.age)))}"'
    )
    if message.delay:
        head += f', "delay": {message.delay}'
    if message.claimed:
        head += ', "claimed": true'
    parts = [head.encode(), b', "body": ', bytes(message.body).translate(_BREAKS)]
    for name in ("attributes", "dead_letter"):
        value: Raw | UnsetType = getattr(message, name)
        if value is not UNSET:
            parts += [f', "{name}": '.encode(), bytes(value).translate(_BREAKS)]
    return b"".join([*parts, b"}"])


class Reading:
    """Takes an export line by line, and knows whether it was whole."""

    def __init__(self) -> None:
        self.head: Head | None = None
        self.ended = False
        self._seal = Seal()
        self._decode_entry = msgspec.json.Decoder(Entry).decode

    @property
    def messages(self) -> int:
        return self._seal.messages

    def take(self, number: int, line: bytes) -> Entry | None:
        """The message of a line; None for the first and the last. Raises ``Malformed``."""
        try:
            if self.head is None:
                self.head = self._first(line)
                self._seal.add(line)
                return None
            if self.ended:
                raise Malformed("the export has ended before it")
            return self._next(line)
        except Malformed as error:
            raise Malformed(f"line {number}: {error}") from None

    def finish(self) -> None:
        """Raise ``Malformed`` unless the end has been seen."""
        if self.head is None:
            raise Malformed("there is nothing in it")
        if not self.ended:
            raise Malformed("it is cut off: its last line is missing")

    def _first(self, line: bytes) -> Head:
        try:
            head = msgspec.json.decode(line, type=Head)
        except msgspec.MsgspecError:
            raise Malformed("this is not the beginning of an exported queue") from None
        if head.version != VERSION:
            raise Malformed(
                f"it was exported by a newer release (format {head.version}; this one knows "
                f"{VERSION})"
            )
        return head

    def _next(self, line: bytes) -> Entry | None:
        try:
            entry = self._decode_entry(line)
            _ = entry.expires_at
        except (msgspec.MsgspecError, ValueError) as error:
            self._expect_end(line, error)
            return None
        self._seal.add(line)
        self._seal.messages += 1
        return entry

    def _expect_end(self, line: bytes, why: Exception) -> None:
        """A line that is no message is the last one, or wrong."""
        try:
            last = msgspec.json.decode(line, type=_Last)
        except msgspec.MsgspecError as error:
            raise Malformed(f"this is not a message ({error})") from None
        if last.messages is UNSET or last.body is not UNSET:
            raise Malformed(f"this is not a message ({why})")
        if End(last.messages, last.sha256) != self._seal.end():
            raise Malformed("lines before it were lost or changed since the export")
        self.ended = True
