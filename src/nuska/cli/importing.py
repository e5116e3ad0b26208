"""Posts what an export holds, batch by batch, so that doing it again does no harm.

A batch is a fixed stretch of lines, and its ``Idempotency-Key`` names the export and the
stretch: a server that has stored it within the last ten minutes does not store it twice. A
file is read through before anything is posted; a pipe cannot be, and is checked as it comes.

Refuses to post a batch whose last line it has not seen, since the next attempt would cut the
lines differently, and could not tell which of them are stored.
"""

import os
import stat
import uuid
from pathlib import Path

import msgspec
from msgspec import UNSET, Struct

from nuska.cli.exits import CommandFailed, Exit
from nuska.cli.export_format import Entry, Head, Malformed, Reading
from nuska.cli.progress import Progress
from nuska.cli.standard_input import LONGEST_LINE, Lines, Unreadable, standard_input
from nuska.client import BadRequest, ClientError, Conflict, Queue
from nuska.client.encoding import MESSAGES_PER_POST, EncodedMessage
from nuska.domain.attributes import without_ours
from nuska.domain.limits import MIN_MESSAGE_TTL
from nuska.domain.moments import Moment
from nuska.interfaces.clock import Clock

AROUND_A_MESSAGE = 100
"""Bytes of a message in a post besides its body and attributes, at most."""
AROUND_A_POST = 100
KEY_IN_USE = "Idempotency-Key"
"""In what a server says when it knows the key of a post."""


class Report(Struct):
    """What an import did."""

    created: bool = False
    imported: int = 0
    expired: int = 0
    """Left out, since their time was up."""
    repeated: int = 0
    """Left out by the server: an earlier import has stored them."""
    undelayed: int = 0
    """Were delayed, and cannot be in this queue."""
    stored_to: int = 1
    """The last line of those that are stored or left out."""


class Batch:
    """A stretch of lines that fits into one post."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._measure = AROUND_A_POST
        self.first = 0
        self.last = 0
        self.entries: list[Entry] = []

    def has_room_for(self, entry: Entry) -> bool:
        """By what stands in the file alone, so that it is the same every time."""
        if not self.entries:
            return True
        measure = self._measure + _measure(entry)
        return len(self.entries) < MESSAGES_PER_POST and measure <= self._size

    @property
    def has_room_for_more(self) -> bool:
        """False for a message that is nearly as large as a post may be."""
        return self._measure <= self._size

    def add(self, number: int, entry: Entry) -> None:
        self.first = self.first or number
        self.last = number
        self._measure += _measure(entry)
        self.entries.append(entry)


class Import:
    """One run of the command."""

    def __init__(self, queue: Queue, clock: Clock, *, after: int, renew: bool) -> None:
        """``after`` is the last line to leave out; ``renew`` gives messages their whole ttl."""
        self._queue = queue
        self._clock = clock
        self._after = after
        self._renew = renew
        self._run = uuid.uuid4().hex
        self._delays = False
        self._size = 0
        self._batch = Batch(0)
        self._reading = Reading()
        self.report = Report()

    async def run(self, descriptor: int, *, metadata: bool) -> None:
        """Post what ``descriptor`` gives. Raises ``Malformed``, ``Unreadable``, ``ClientError``."""
        lines = Lines(descriptor)
        with Progress(lines.size, "messages imported") as progress:
            async for number, line, _ in lines:
                entry = self._reading.take(number, line)
                if number == 1 and self._reading.head is not None:
                    await self._prepare(self._reading.head, metadata=metadata)
                elif entry is not None and number > self._after:
                    await self._add(number, entry)
                progress.show(self.report.imported, lines.consumed)
            self._reading.finish()
            await self._send()

    async def _prepare(self, head: Head, *, metadata: bool) -> None:
        if metadata:
            try:
                self.report.created = await self._queue.create(head.metadata)
            except BadRequest as error:
                raise Malformed(
                    f"its metadata are not taken: {error} --no-metadata leaves them out"
                ) from error
        shown = await self._queue.metadata()
        self._delays = bool(shown.get("_default_message_delay"))
        self._size = await self._queue.max_post_size()
        self._batch = Batch(self._size)

    async def _add(self, number: int, entry: Entry) -> None:
        if not self._batch.has_room_for(entry):
            await self._send()
        self._batch.add(number, entry)

    async def _send(self) -> None:
        """Post the batch, and begin the next."""
        batch, self._batch = self._batch, Batch(self._size)
        if not batch.entries:
            return
        now = self._clock.now()
        messages = [self._message(entry, now) for entry in batch.entries]
        posted = [message for message in messages if message is not None]
        self.report.expired += len(messages) - len(posted)
        if posted:
            await self._post(posted, batch)
        self.report.stored_to = batch.last

    async def _post(self, messages: list[EncodedMessage], batch: Batch) -> None:
        if batch.has_room_for_more:
            # A server passes over what it does not know of a message. By this it tells this run
            # from an earlier one, which it would otherwise answer as if it stored these again.
            mark = b'{"import":"%s",' % self._run.encode()
            messages[0] = EncodedMessage(mark + messages[0][1:])
        assert self._reading.head is not None
        key = f"nuska-import-{self._reading.head.export}-{batch.first}-{batch.last}"
        try:
            await self._queue.post_encoded(messages, key=key)
        except Conflict as error:
            if KEY_IN_USE not in error.description:
                raise
            self.report.repeated += len(messages)
        except BadRequest as error:
            lines = f"lines {batch.first} to {batch.last}"
            raise Malformed(f"{lines} are not taken (counted from 0 there): {error}") from error
        else:
            self.report.imported += len(messages)

    def _message(self, entry: Entry, now: Moment) -> EncodedMessage | None:
        """As it goes into a post; None when its time is up."""
        ttl, delay = entry.ttl, entry.delay
        if not self._renew:
            left = entry.life_left(now)
            if left <= 0:
                return None
            ttl = max(left // 1000, MIN_MESSAGE_TTL)
            delay = -(-entry.delay_left(now) // 1000)
        self.report.undelayed += bool(delay and not self._delays)
        text = b'{"body":%s,"ttl":%d' % (bytes(entry.body), ttl)
        if self._delays:
            text += b',"delay":%d' % delay  # also 0, or the queue's own would count
        if entry.attributes is not UNSET:
            text += b',"attributes":' + _to_post(bytes(entry.attributes))
        return EncodedMessage(text + b"}")


def _to_post(attributes: bytes) -> bytes:
    try:
        return without_ours(attributes)
    except msgspec.DecodeError:  # no object: the server says so
        return attributes


def _measure(entry: Entry) -> int:
    attributes = 0 if entry.attributes is UNSET else len(bytes(entry.attributes))
    return len(bytes(entry.body)) + attributes + AROUND_A_MESSAGE


def open_input(file: Path | None) -> int:
    """A descriptor of what is to be imported, checked from end to end if that can be."""
    try:
        if file is None or str(file) == "-":
            descriptor = standard_input()
        else:
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            check(descriptor)
    except Malformed as error:
        raise CommandFailed(Exit.REFUSED, f"Nothing is imported: {error}.") from None
    except OSError as error:
        raise CommandFailed(Exit.REFUSED, f"{file or 'The input'}: {error.strerror}.") from error
    except Unreadable as error:
        raise CommandFailed(Exit.REFUSED, f"Nothing is imported: {error}.") from None
    return descriptor


def check(descriptor: int) -> None:
    """Read a file through, and go back to its beginning. Raises ``Malformed``."""
    reading = Reading()
    size = os.fstat(descriptor).st_size
    start = os.lseek(descriptor, 0, os.SEEK_CUR)
    done = 0
    with (
        open(descriptor, "rb", closefd=False) as file,
        Progress(size, "checked", in_bytes=True) as progress,
    ):
        for number in range(1, size + 2):
            line = file.readline(LONGEST_LINE + 1)
            if not line:
                break
            if len(line) > LONGEST_LINE:
                raise Malformed(f"line {number} is longer than {LONGEST_LINE} bytes")
            reading.take(number, line.rstrip(b"\r\n"))
            done += len(line)
            progress.show(done)
    reading.finish()
    os.lseek(descriptor, start, os.SEEK_SET)


def interrupted(error: ClientError | Malformed | Unreadable, report: Report) -> str:
    """What to say, and how to go on, when an import has stopped on its way."""
    stopped = f"The import stopped: {str(error).rstrip('.')}."
    if report.stored_to == 1:
        return f"{stopped} Nothing is imported."
    return (
        f"{stopped} The messages up to line {report.stored_to} are in the queue; go on with "
        f"--after {report.stored_to}. Within ten minutes the same command as before does, too."
    )
