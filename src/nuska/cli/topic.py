"""``nuska topic``: topics, and publishing to them."""

from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

from cyclopts import App, Parameter

from nuska.cli.exits import CommandFailed, Exit
from nuska.cli.options import DEFAULTS, PLAIN, Options
from nuska.cli.output import Cells, assignments, compact, counted, document, parsed
from nuska.client import NewMessage

app = App(name="topic", help="Topics: publish to subscribers.", default_parameter=PLAIN)

Name = Annotated[str, Parameter(name="TOPIC", help="The topic's name.")]
Names = Annotated[str, Parameter(name="TOPIC", help="The topics' names.")]


@app.command(name="list")
async def list_topics(
    *,
    detailed: Annotated[bool, Parameter(help="Show the metadata, too.")] = False,
    options: Options = DEFAULTS,
) -> None:
    """List the project's topics by name."""
    async with options.client() as client:

        async def records() -> AsyncIterator[tuple[Mapping[str, Any], Cells]]:
            async for topic in client.topics(detailed=detailed, page=20):
                shown: dict[str, Any] = {"name": topic.name}
                if detailed:
                    shown["metadata"] = topic.metadata
                yield shown, (topic.name, compact(topic.metadata))[: 1 + detailed]

        columns = ("NAME", "METADATA")[: 1 + detailed]
        if not await options.output.rows(columns, records()):
            options.output.note("No topics.")


@app.command(usage="Usage: nuska topic create [OPTIONS] TOPIC [KEY=VALUE...]")
async def create(
    name: Name,
    /,
    *metadata: Annotated[
        str, Parameter(name="KEY=VALUE", help="Metadata; a value is JSON, or else text.")
    ],
    options: Options = DEFAULTS,
) -> None:
    """Create a topic. One that exists stays as it is."""
    try:
        pairs = assignments(metadata)
    except ValueError as error:
        raise CommandFailed(Exit.USAGE, f"{error}.") from None
    async with options.client() as client:
        created = await client.topic(name).create(pairs)
    options.output.done(
        {"name": name, "created": created},
        f"Topic {name} {'created' if created else 'was there already'}.",
    )


@app.command
async def show(name: Name, /, *, options: Options = DEFAULTS) -> None:
    """Show a topic's metadata."""
    async with options.client() as client:
        options.output.pairs(await client.topic(name).metadata())


@app.command(usage="Usage: nuska topic publish [OPTIONS] TOPIC BODY...")
async def publish(
    name: Name,
    /,
    *bodies: Annotated[str, Parameter(name="BODY", help="JSON, or else text.")],
    ttl: Annotated[int | None, Parameter(help="Seconds a message lives.")] = None,
    options: Options = DEFAULTS,
) -> None:
    """Tell every subscriber: one message for each BODY, in this order; prints their ids."""
    if not bodies:
        raise CommandFailed(Exit.USAGE, "Give a message to publish.")
    messages = [NewMessage(body=parsed(body), ttl=ttl) for body in bodies]
    async with options.client() as client:
        ids = await client.topic(name).publish_many(messages)
    for message_id in ids:
        if options.as_json:
            options.output.json({"id": message_id})
        else:
            options.output.line(message_id)
    options.output.note(f"{counted(len(ids), 'message')} published to topic {name}.")


@app.command
async def stats(name: Name, /, *, options: Options = DEFAULTS) -> None:
    """Count what was published to a topic and has not expired."""
    async with options.client() as client:
        options.output.pairs(document(await client.topic(name).stats()))


@app.command(usage="Usage: nuska topic purge [OPTIONS] TOPIC...")
async def purge(*names: Names, options: Options = DEFAULTS) -> None:
    """Delete everything that was published to topics; subscriptions stay."""
    await _each(names, "purge", options)


@app.command(usage="Usage: nuska topic delete [OPTIONS] TOPIC...")
async def delete(*names: Names, options: Options = DEFAULTS) -> None:
    """Delete topics with their messages. Subscriptions stay, for the next one of that name."""
    await _each(names, "delete", options)


async def _each(names: tuple[str, ...], what: str, options: Options) -> None:
    if not names:
        raise CommandFailed(Exit.USAGE, "Give the name of a topic.")
    async with options.client() as client:
        for name in names:
            topic = client.topic(name)
            await (topic.purge() if what == "purge" else topic.delete())
            options.output.done({"name": name, f"{what}d": True}, f"Topic {name} {what}d.")
