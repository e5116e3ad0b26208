"""``nuska subscription``: whom a queue or topic tells of what is posted."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any

from cyclopts import App, Parameter

from nuska.cli.exits import CommandFailed, Exit
from nuska.cli.options import DEFAULTS, PLAIN, Options
from nuska.cli.output import Cells, assignments, document
from nuska.client import Client, Subscription, Subscriptions

app = App(
    name="subscription",
    help="Subscriptions: whom a queue or topic tells of what is posted.",
    default_parameter=PLAIN,
)

Source = Annotated[str, Parameter(name="QUEUE", help="The name of the queue, or topic.")]
Id = Annotated[str, Parameter(name="ID", help="The subscription's id.")]
Ids = Annotated[str, Parameter(name="ID", help="The subscriptions' ids.")]
OfTopic = Annotated[bool, Parameter(name="--topic", help="QUEUE is the name of a topic.")]
Ttl = Annotated[
    int | None, Parameter(help="Seconds it lives from now on; an hour unless the server says more.")
]
Option = Annotated[
    tuple[str, ...],
    Parameter(
        name="--option",
        help="KEY=VALUE, where the value is JSON, or else text; may be repeated.",
    ),
]
LOOKS = 60
LOOK_EVERY = 0.5
"""Seconds between two looks at what came of a test."""
TEST_WITHIN = 60
COLUMNS = ("ID", "SUBSCRIBER", "TTL", "AGE", "CONFIRMED", "STATE")


@app.command
async def create(
    source: Source,
    subscriber: Annotated[
        str,
        Parameter(name="SUBSCRIBER", help="https://…, http://…, mailto:NAME@HOST or queue:NAME."),
    ],
    /,
    *,
    ttl: Ttl = None,
    option: Option = (),
    topic: OfTopic = False,
    options: Options = DEFAULTS,
) -> None:
    """Have somebody told of what is posted from now on; prints the subscription's id.

    One that is there already and not confirmed is changed to this.
    """
    given = _options(option)
    async with options.client() as client:
        made = await _of(client, source, topic).create(subscriber, ttl=ttl, options=given)
    if options.as_json:
        options.output.json({"subscription_id": made})
    else:
        options.output.line(made)


@app.command(name="list")
async def list_subscriptions(
    source: Source,
    /,
    *,
    marker: Annotated[str | None, Parameter(help="Start after this id.")] = None,
    topic: OfTopic = False,
    options: Options = DEFAULTS,
) -> None:
    """List subscriptions by id."""
    async with options.client() as client:
        listing = _of(client, source, topic).list(page=20, marker=marker)

        async def records() -> AsyncIterator[tuple[Mapping[str, Any], Cells]]:
            async for found in listing:
                yield document(found), _cells(found)

        if not await options.output.rows(COLUMNS, records()):
            options.output.note("No subscriptions.")


@app.command
async def show(
    source: Source, id_: Id, /, *, topic: OfTopic = False, options: Options = DEFAULTS
) -> None:
    """Show one subscription."""
    async with options.client() as client:
        found = await _of(client, source, topic).show(id_)
    options.output.pairs(document(found))


@app.command
async def update(
    source: Source,
    id_: Id,
    /,
    *,
    subscriber: Annotated[str | None, Parameter(help="Whom to tell instead.")] = None,
    ttl: Ttl = None,
    option: Option = (),
    topic: OfTopic = False,
    options: Options = DEFAULTS,
) -> None:
    """Change a subscription; options are replaced as a whole. A disabled one is tried again."""
    given = _options(option)
    if subscriber is None and ttl is None and given is None:
        raise CommandFailed(Exit.USAGE, "Say what to change: --subscriber, --ttl or --option.")
    async with options.client() as client:
        await _of(client, source, topic).update(id_, subscriber=subscriber, ttl=ttl, options=given)
    _told(options, id_, "changed")


@app.command
async def delete(
    source: Source, /, *ids: Ids, topic: OfTopic = False, options: Options = DEFAULTS
) -> None:
    """End subscriptions. They need not exist."""
    if not ids:
        raise CommandFailed(Exit.USAGE, "Give the id of a subscription.")
    async with options.client() as client:
        for id_ in ids:
            await _of(client, source, topic).delete(id_)
            _told(options, id_, "deleted")


@app.command
async def confirm(
    source: Source,
    id_: Id,
    /,
    *,
    no: Annotated[bool, Parameter(help="The subscriber wants no more of it.")] = False,
    topic: OfTopic = False,
    options: Options = DEFAULTS,
) -> None:
    """Say for the subscriber that he wants to be told."""
    async with options.client() as client:
        await _of(client, source, topic).confirm(id_, confirmed=not no)
    _told(options, id_, "unsubscribed" if no else "confirmed")


@app.command
async def log(
    source: Source,
    id_: Id,
    /,
    *,
    since: Annotated[int, Parameter(help="Seconds to look back.")] = 3600,
    topic: OfTopic = False,
    options: Options = DEFAULTS,
) -> None:
    """Show what was tried to tell the subscriber, oldest first."""
    async with options.client() as client:

        async def records() -> AsyncIterator[tuple[Mapping[str, Any], Cells]]:
            async for one in _of(client, source, topic).attempts(id_, since=since):
                what = "ok" if one.ok else one.error or "failed"
                cells = (one.at, one.message_id, one.attempt, one.status or "", what)
                yield document(one), (*cells, f"{one.latency_ms} ms", one.next_at or "")

        columns = ("AT", "MESSAGE", "ATTEMPT", "STATUS", "OUTCOME", "TOOK", "NEXT")
        if not await options.output.rows(columns, records()):
            options.output.note("Nothing was tried in that time.")


@app.command(name="test")
async def try_out(
    source: Source, id_: Id, /, *, topic: OfTopic = False, options: Options = DEFAULTS
) -> None:
    """Tell the subscriber of a message of the service's own, and show what came of it."""
    async with options.client() as client:
        subscriptions = _of(client, source, topic)
        message = await subscriptions.test(id_)
        for _ in range(LOOKS):
            async for one in subscriptions.attempts(id_, since=TEST_WITHIN):
                if one.message_id == message:
                    break
            else:
                await asyncio.sleep(LOOK_EVERY)
                continue
            break
        else:
            sentence = "Nothing was tried within half a minute. Does a server deliver?"
            raise CommandFailed(Exit.REFUSED, sentence)
    if options.as_json:
        options.output.json(document(one))
    elif one.ok:
        options.output.note(f"The subscriber answered in {one.latency_ms} ms.")
    if not one.ok:
        raise CommandFailed(Exit.REFUSED, f"It failed: {one.error}")


@app.command
async def replay(
    source: Source,
    id_: Id,
    /,
    *,
    since: Annotated[int, Parameter(help="How many seconds of the past.")],
    topic: OfTopic = False,
    options: Options = DEFAULTS,
) -> None:
    """Tell the subscriber again of what was posted lately, as far as the server keeps it."""
    async with options.client() as client:
        await _of(client, source, topic).replay(id_, since)
    _told(options, id_, f"is told again of the last {since} seconds")


def _of(client: Client, source: str, topic: bool) -> Subscriptions:
    return (client.topic(source) if topic else client.queue(source)).subscriptions


def _options(pairs: Sequence[str]) -> dict[str, Any] | None:
    try:
        return assignments(pairs) or None
    except ValueError as error:
        raise CommandFailed(Exit.USAGE, f"--option: {error}.") from None


def _cells(found: Subscription) -> Cells:
    state = "active" if found.disabled is None else f"disabled: {found.disabled.reason}"
    confirmed = "yes" if found.confirmed else "no"
    return (found.id, found.subscriber, found.ttl, found.age, confirmed, state)


def _told(options: Options, id_: str, what: str) -> None:
    if options.as_json:
        options.output.json({"subscription_id": id_, what: True})
    else:
        options.output.note(f"Subscription {id_} {what}.")
