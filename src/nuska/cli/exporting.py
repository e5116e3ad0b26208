"""Writes a queue's messages to a file or a pipe, page by page, while others use the queue.

Every message that was there throughout is written once; of those that come meanwhile perhaps
some. Nothing is changed or claimed.
"""

import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from nuska.cli.exits import CommandFailed, Exit
from nuska.cli.export_format import VERSION, End, Head, Seal, message_line
from nuska.cli.progress import Progress
from nuska.client import Client
from nuska.client.connection import MAX_ANSWER
from nuska.client.encoding import POST_SIZE, encode_json
from nuska.client.records import Metadata
from nuska.domain.moments import iso, seconds
from nuska.files import appearing
from nuska.interfaces.clock import Clock

PAGE = 20
"""Messages that one request brings: what a server gives unless it is set to less."""

Write = Callable[[bytes], None]


@contextmanager
def destination(output: Path | None, *, replace: bool) -> Iterator[Write]:
    """Where an export goes; a file is there when it is whole, and only then."""
    if output is None:
        if sys.stdout.isatty():
            raise CommandFailed(Exit.USAGE, "Say --output FILE, or send the export into a pipe.")
        yield _to_standard_output
        return
    try:
        with (
            appearing(output, replace=replace) as draft,
            open(draft.descriptor, "wb", closefd=False) as file,
        ):

            def write(data: bytes) -> None:
                file.write(data)

            yield write
    except OSError as error:
        reason = error.args[-1] if isinstance(error, FileExistsError) else error.strerror
        raise CommandFailed(Exit.REFUSED, f"{output} cannot be written: {reason}.") from error


def _to_standard_output(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


async def export(client: Client, name: str, write: Write, clock: Clock) -> int:
    """Write the queue ``name``; how many messages that were."""
    queue = client.queue(name)
    metadata = await queue.metadata()
    if not await queue.exists():
        raise CommandFailed(Exit.REFUSED, f"There is no queue {name}.")
    seal = Seal()

    def put(lines: list[bytes]) -> None:
        for line in lines:
            seal.add(line)
        write(b"".join(line + b"\n" for line in lines))

    began = asked = clock.now()
    put([_head(name, iso(began), await _own(client, metadata))])
    with Progress((await queue.stats()).total, "messages exported") as progress:
        async for page in queue.everything(page=_page_size(metadata)).pages():
            now = clock.now()
            put([message_line(message, now) for message in page])
            seal.messages += len(page)
            progress.show(seal.messages)
            # Behind a message that was posted since stand only later ones: where others post as
            # fast as this reads, there would be no end.
            if any(asked - seconds(message.age + 1) > began for message in page):
                break
            asked = clock.now()
    end: End = seal.end()
    write(encode_json({"messages": end.messages, "sha256": end.sha256}) + b"\n")
    return end.messages


def _head(name: str, exported: str, metadata: Metadata) -> bytes:
    head = Head(
        version=VERSION,
        export=uuid.uuid4().hex,
        queue=name,
        exported=exported,
        metadata=metadata,
    )
    return msgspec.json.encode(head)


async def _own(client: Client, metadata: Metadata) -> Metadata:
    """What of ``metadata`` the server does not say of every queue: its defaults are its own."""
    defaults = await client.queue(f"nobody-{uuid.uuid4().hex}").metadata()
    return {
        key: value
        for key, value in metadata.items()
        if key not in defaults or encode_json(defaults[key]) != encode_json(value)
    }


def _page_size(metadata: Metadata) -> int:
    """As many as fit into one answer, however large messages may be."""
    largest = metadata.get("_max_messages_post_size")
    largest = largest if isinstance(largest, int) and largest > 0 else POST_SIZE
    return max(1, min(PAGE, MAX_ANSWER // (2 * largest)))
