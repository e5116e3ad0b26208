"""Posts what ``nuska message post`` was given: a few arguments, or any number of lines.

A batch is sent when the next line would not fit in, or when no further line is there yet, so
that a slow producer's lines do not wait for each other.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nuska.cli.exits import CommandFailed, Exit
from nuska.cli.output import Output
from nuska.cli.progress import Progress
from nuska.cli.standard_input import Lines, Unreadable, invite
from nuska.client import NewMessage, Queue
from nuska.client.encoding import Batcher, EncodedMessage, TooLarge, encode_message
from nuska.domain.attributes import OURS

ENVELOPE = frozenset({"body", "ttl", "delay", "attributes"})
"""What counts of an envelope; the rest of it, such as an id from a listing, does not, nor do
attributes that the service has written."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """How a line becomes a message."""

    text: bool = False
    envelope: bool = False
    ttl: int | None = None
    delay: int | None = None
    attributes: dict[str, Any] | None = None

    def message(self, body: Any) -> NewMessage:
        return NewMessage(body=body, ttl=self.ttl, delay=self.delay, attributes=self.attributes)

    def of_line(self, line: bytes) -> NewMessage:
        """Raises ``ValueError`` with what is wrong with ``line``."""
        decoded = line.decode()
        if self.text:
            return self.message(decoded)
        try:
            value = json.loads(decoded)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"it is not JSON ({error.msg}, at column {error.colno}); "
                "--text posts lines as they are"
            ) from None
        if not self.envelope:
            return self.message(value)
        if not isinstance(value, dict) or "body" not in value:
            raise ValueError('an envelope is an object with "body"')
        given = {key: value[key] for key in ENVELOPE & value.keys()}
        if isinstance(given.get("attributes"), dict):
            given["attributes"] = {k: v for k, v in given["attributes"].items() if k not in OURS}
        own = {"ttl": self.ttl, "delay": self.delay, "attributes": self.attributes}
        return NewMessage(**({key: val for key, val in own.items() if val is not None} | given))


class Posting:
    """One run of the command, with what it has posted so far."""

    def __init__(self, queue: Queue, output: Output, draft: Draft, batch: int) -> None:
        self._queue = queue
        self._output = output
        self._draft = draft
        self._batch = batch
        self._posted = 0
        self._requests = 0

    async def arguments(self, bodies: Sequence[Any]) -> None:
        """Post ``bodies`` in one request, and show the ids."""
        try:
            ids = await self._queue.post_many([self._draft.message(body) for body in bodies])
        except (ValueError, TypeError) as error:
            raise CommandFailed(Exit.USAGE, f"A body is not valid: {error}.") from None
        self._show(ids, people_too=True)

    async def standard_input(self) -> None:
        """Post each line of standard input, and say how many there were."""
        size = await self._queue.max_post_size()
        kind = "envelope" if self._draft.envelope else "text" if self._draft.text else "JSON"
        invite(f"One message a line ({kind}), until Ctrl-D:")
        batcher = Batcher(count=self._batch, size=size)
        try:
            lines = Lines()
            with Progress(lines.size, "messages posted") as progress:
                async for number, line, more in lines:
                    message = self._encoded(number, line)
                    try:
                        await self._send(batcher.add(message) if message else [])
                    except TooLarge as error:
                        raise self._stopped(number, error) from None
                    if not more:
                        await self._send(batcher.take())
                    progress.show(self._posted, lines.consumed)
                await self._send(batcher.take())
                progress.show(self._posted, lines.consumed)
        except Unreadable as error:
            raise CommandFailed(Exit.REFUSED, f"Not everything could be posted: {error}.") from None
        finally:
            requests = "request" if self._requests == 1 else "requests"
            messages = "message" if self._posted == 1 else "messages"
            self._output.note(f"{self._posted} {messages} posted in {self._requests} {requests}.")

    def _encoded(self, number: int, line: bytes) -> EncodedMessage | None:
        if not line.strip() and not self._draft.text:
            return None
        try:
            return encode_message(self._draft.of_line(line))
        except (ValueError, TypeError) as error:
            raise self._stopped(number, error) from None

    def _stopped(self, number: int, error: Exception) -> CommandFailed:
        return CommandFailed(Exit.REFUSED, f"Line {number} cannot be posted: {error}.")

    async def _send(self, batch: list[EncodedMessage]) -> None:
        if batch:
            ids = await self._queue.post_encoded(batch)
            self._posted += len(ids)
            self._requests += 1
            self._show(ids, people_too=False)

    def _show(self, ids: Sequence[str], *, people_too: bool) -> None:
        for message_id in ids:
            if self._output.as_json:
                self._output.json({"id": message_id})
            elif people_too:
                self._output.line(message_id)
