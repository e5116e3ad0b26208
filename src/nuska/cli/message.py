"""``nuska message``: post, look at, delete and pop messages."""

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import Annotated, Any

from cyclopts import App, Parameter

from nuska.cli.exits import CommandFailed, Exit
from nuska.cli.options import DEFAULTS, PLAIN, Options
from nuska.cli.output import Cells, assignments, compact, document, parsed
from nuska.cli.posting import Draft, Posting
from nuska.client import Message
from nuska.client.encoding import MESSAGES_PER_POST

app = App(name="message", help="Post, look at, delete and pop messages.", default_parameter=PLAIN)

QueueName = Annotated[str, Parameter(help="The queue's name.")]
Ids = Annotated[str, Parameter(name="ID", help="Messages by their ids.")]
Wait = Annotated[int, Parameter(help="Seconds to wait for something to come.")]
WithAttributes = Annotated[bool, Parameter(help="Show attributes, too.")]

COLUMNS = ("ID", "TTL", "AGE", "BODY")


@app.command(usage="Usage: nuska message post [OPTIONS] QUEUE [BODY...]")
async def post(
    queue: QueueName,
    /,
    *bodies: Annotated[str, Parameter(name="BODY", help="A message each; JSON, or else text.")],
    text: Annotated[bool, Parameter(help="Bodies are text, even if they look like JSON.")] = False,
    envelope: Annotated[
        bool,
        Parameter(help='Input lines are {"body": …, "ttl": …, "attributes": …}.'),
    ] = False,
    ttl: Annotated[int | None, Parameter(help="Seconds the messages live.")] = None,
    delay: Annotated[
        int | None,
        Parameter(
            help="Seconds until they can be claimed, if the queue has a _default_message_delay."
        ),
    ] = None,
    attribute: Annotated[
        tuple[str, ...],
        Parameter(help="KEY=VALUE beside the body; may be repeated."),
    ] = (),
    batch: Annotated[int, Parameter(help="Messages in one request, at most.")] = MESSAGES_PER_POST,
    options: Options = DEFAULTS,
) -> None:
    """Post messages; without BODY one for each line of standard input, which is JSON.

    Each request is stored whole or not at all. What is on standard input is sent in order, in
    batches as large as the queue takes.
    """
    if batch < 1:
        raise CommandFailed(Exit.USAGE, "A batch has at least one message.")
    try:
        attributes = assignments(attribute) or None
    except ValueError as error:
        raise CommandFailed(Exit.USAGE, f"{error}.") from None
    draft = Draft(text=text, envelope=envelope, ttl=ttl, delay=delay, attributes=attributes)
    async with options.client() as client:
        posting = Posting(client.queue(queue), options.output, draft, batch)
        if bodies:
            await posting.arguments([body if text else parsed(body) for body in bodies])
        else:
            await posting.standard_input()


@app.command(name="list")
async def list_messages(
    queue: QueueName,
    /,
    *,
    limit: Annotated[int | None, Parameter(help="Show so many at most.")] = None,
    marker: Annotated[str | None, Parameter(help="Start after the message of this id.")] = None,
    include_claimed: Annotated[bool, Parameter(help="Claimed messages, too.")] = False,
    include_delayed: Annotated[bool, Parameter(help="Delayed messages, too.")] = False,
    attributes: WithAttributes = False,
    wait: Wait = 0,
    follow: Annotated[bool, Parameter(help="Go on with what comes, until interrupted.")] = False,
    options: Options = DEFAULTS,
) -> None:
    """List messages, oldest first. They stay in the queue."""
    async with options.client() as client:
        listing = client.queue(queue).messages(
            include_claimed=include_claimed,
            include_delayed=include_delayed,
            attributes=attributes,
            marker=marker,
            page=20,
            wait=wait or 20 * follow,
            follow=follow,
        )
        records = _first(limit, listing, attributes=attributes)
        if not await options.output.rows(columns(attributes=attributes), records, at_once=follow):
            options.output.note("No messages.")


@app.command(usage="Usage: nuska message get [OPTIONS] QUEUE ID...")
async def get(
    queue: QueueName,
    /,
    *ids: Ids,
    attributes: WithAttributes = False,
    options: Options = DEFAULTS,
) -> None:
    """Show messages by their ids, claimed and delayed ones too."""
    _some(ids)
    async with options.client() as client:
        handle = client.queue(queue)

        async def found() -> AsyncIterator[Message]:
            for message_id in ids:
                yield await handle.message(message_id, attributes=attributes)

        records = _first(None, found(), attributes=attributes)
        await options.output.rows(columns(attributes=attributes), records)


@app.command(usage="Usage: nuska message delete [OPTIONS] QUEUE ID...")
async def delete(
    queue: QueueName,
    /,
    *ids: Ids,
    claim: Annotated[
        str | None, Parameter(help="The id of the claim that holds them, if one does.")
    ] = None,
    options: Options = DEFAULTS,
) -> None:
    """Delete messages by their ids. They need not exist."""
    _some(ids)
    async with options.client() as client:
        for message_id in ids:
            await client.queue(queue).delete_message(message_id, claim_id=claim)
            options.output.done(
                {"id": message_id, "deleted": True}, f"Message {message_id} is gone."
            )


@app.command
async def pop(
    queue: QueueName,
    /,
    *,
    limit: Annotated[int, Parameter(help="Take so many at most.")] = 1,
    attributes: WithAttributes = False,
    wait: Wait = 0,
    options: Options = DEFAULTS,
) -> None:
    """Take messages out of the queue for good."""
    async with options.client() as client:
        popped = await client.queue(queue).pop(limit, wait=wait, attributes=attributes)

        async def records() -> AsyncIterator[Message]:
            for message in popped:
                yield message

        shown = _first(None, records(), attributes=attributes)
        if not await options.output.rows(columns(attributes=attributes), shown):
            options.output.note("No messages.")


def row(message: Message, *, attributes: bool = False) -> tuple[Mapping[str, Any], Cells]:
    """A message as a document and as the cells of a table."""
    shown = {**document(message), "body": message.body}
    cells = (message.id, message.ttl, message.age, compact(message.body))
    return shown, (*cells, compact(message.attributes or {})) if attributes else cells


def columns(*, attributes: bool) -> tuple[str, ...]:
    return (*COLUMNS, "ATTRIBUTES") if attributes else COLUMNS


async def _first(
    limit: int | None, messages: AsyncIterable[Message], *, attributes: bool
) -> AsyncIterator[tuple[Mapping[str, Any], Cells]]:
    if limit is not None and limit < 1:
        return
    count = 0
    async for message in messages:
        yield row(message, attributes=attributes)
        count += 1
        if count == limit:
            return


def _some(ids: tuple[str, ...]) -> None:
    if not ids:
        raise CommandFailed(Exit.USAGE, "Give the id of a message.")
