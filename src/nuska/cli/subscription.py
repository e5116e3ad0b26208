"""``nuska subscription``: whom a queue or topic tells of what is posted."""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from typing import Annotated, Any

from cyclopts import App, Parameter

from nuska.cli.exits import CommandFailed, Exit
from nuska.cli.options import DEFAULTS, PLAIN, Options
from nuska.cli.output import Cells, assignments, counted, document
from nuska.client import Attempt, Client, Standing, Subscription, Subscriptions, Waiting

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
        help="KEY=VALUE, where the value is JSON, or else text; KEY=@FILE takes it from a file, "
        "@FILE all of them, as a JSON object. May be repeated.",
    ),
]
Since = Annotated[int, Parameter(help="Seconds to look back.")]
LOOKS = 60
LOOK_EVERY = 0.5
"""Seconds between two looks at what came of a test."""
TEST_WITHIN = 60
LEFT = "The subscriber has left by himself, and comes back by confirming."
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
        subscriptions = _of(client, source, topic)
        made = await subscriptions.create(subscriber, ttl=ttl, options=given)
        if options.as_json:
            options.output.json({"subscription_id": made})
            return
        options.output.line(made)
        waiting = (await subscriptions.show(made)).waiting
    if waiting is not None:
        options.output.note(_in_words(waiting))


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
    """Change a subscription; options are replaced as a whole. A disabled one is tried again,
    unless its subscriber has left by himself."""
    given = _options(option)
    if subscriber is None and ttl is None and given is None:
        raise CommandFailed(Exit.USAGE, "Say what to change: --subscriber, --ttl or --option.")
    async with options.client() as client:
        await _of(client, source, topic).update(id_, subscriber=subscriber, ttl=ttl, options=given)
    _told(options, id_, "changed")


@app.command
async def enable(
    source: Source, id_: Id, /, *, topic: OfTopic = False, options: Options = DEFAULTS
) -> None:
    """Have a disabled subscription tried again, and change nothing else about it."""
    async with options.client() as client:
        subscriptions = _of(client, source, topic)
        if not await subscriptions.enable(id_):
            if (await subscriptions.show(id_)).disabled is None:
                raise CommandFailed(Exit.REFUSED, f"Subscription {id_} is not disabled.")
            raise CommandFailed(Exit.REFUSED, LEFT)
    _told(options, id_, "enabled")


@app.command(usage="Usage: nuska subscription delete [OPTIONS] QUEUE ID...")
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
    """Say for the subscriber that he wants to be told. One that must confirm says so himself."""
    async with options.client() as client:
        await _of(client, source, topic).confirm(id_, confirmed=not no)
    _told(options, id_, "unsubscribed" if no else "confirmed")


@app.command
async def log(
    source: Source,
    id_: Id,
    /,
    *,
    since: Since = 3600,
    limit: Annotated[int | None, Parameter(help="Only the last so many.")] = None,
    topic: OfTopic = False,
    options: Options = DEFAULTS,
) -> None:
    """Show what was tried to tell the subscriber, oldest first, and how it stands."""
    if limit is not None and limit < 1:
        raise CommandFailed(Exit.USAGE, "--limit must be at least 1.")
    async with options.client() as client:
        subscriptions = _of(client, source, topic)

        async def records() -> AsyncIterator[tuple[Mapping[str, Any], Cells]]:
            listing = subscriptions.attempts(id_, since=since)
            async for one in listing if limit is None else _last(limit, listing):
                what = "ok" if one.ok else one.error or "failed"
                cells = (one.at, one.message_id or one.letter, one.attempt, one.status or "", what)
                yield document(one), (*cells, f"{one.latency_ms} ms", one.next_at or "")

        columns = ("AT", "MESSAGE", "ATTEMPT", "STATUS", "OUTCOME", "TOOK", "NEXT")
        if not await options.output.rows(columns, records()):
            options.output.note("Nothing was tried in that time.")
        standing = await subscriptions.stats(id_, since=since)
    for sentence in _summary(standing):
        options.output.note(sentence)


@app.command
async def stats(
    source: Source,
    id_: Id,
    /,
    *,
    since: Since = 3600,
    topic: OfTopic = False,
    options: Options = DEFAULTS,
) -> None:
    """Show how it goes: how many attempts succeed, and whether its endpoint is in trouble."""
    async with options.client() as client:
        found = await _of(client, source, topic).stats(id_, since=since)
    options.output.pairs(document(found))


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
        return assignments(pairs, files=True) or None
    except ValueError as error:
        raise CommandFailed(Exit.USAGE, f"--option: {error}.") from None


async def _last(count: int, attempts: AsyncIterable[Attempt]) -> AsyncIterator[Attempt]:
    kept: deque[Attempt] = deque(maxlen=count)
    async for one in attempts:
        kept.append(one)
    for one in kept:
        yield one


def _in_words(waiting: Waiting) -> str:
    if waiting.problem is None:
        return "It waits for confirmation: the subscriber has to answer what it is sent."
    return f"It cannot be asked to confirm, and is sent nothing: {waiting.problem}."


def _summary(standing: Standing) -> list[str]:
    """How it stands, in sentences."""
    said = []
    if standing.success_rate is not None:
        share = f"{100 * standing.success_rate:.4g} %"
        more = "" if standing.complete else " (there were more)"
        counts = f"{standing.succeeded} of {counted(standing.attempts, 'attempt')}"
        said.append(f"{counts} succeeded{more}: {share}.")
    if standing.trouble is not None:
        trouble = standing.trouble
        said.append(
            f"Nothing new is sent since {trouble.since}, after {trouble.failures} failures in a "
            f"row: {trouble.error} It is tried again at {trouble.next_at}."
        )
    if standing.disabled is not None:
        said.append(f"It is disabled since {standing.disabled.at}: {standing.disabled.reason}")
    if standing.waiting is not None:
        said.append(_in_words(standing.waiting))
    return said


def _cells(found: Subscription) -> Cells:
    state = "active"
    if found.disabled is not None:
        state = f"disabled: {found.disabled.reason}"
    elif found.waiting is not None:
        problem = found.waiting.problem
        state = "waits for confirmation" if problem is None else f"cannot be asked: {problem}"
    confirmed = "yes" if found.confirmed else "no"
    return (found.id, found.subscriber, found.ttl, found.age, confirmed, state)


def _told(options: Options, id_: str, what: str) -> None:
    options.output.done({"subscription_id": id_, what: True}, f"Subscription {id_} {what}.")
