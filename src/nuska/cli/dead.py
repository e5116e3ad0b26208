"""``nuska dead``: messages and notifications that got nowhere."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

from cyclopts import App, Parameter

from nuska.cli.exits import CommandFailed, Exit
from nuska.cli.options import DEFAULTS, PLAIN, Options
from nuska.cli.output import Cells, counted, document
from nuska.client import Client
from nuska.client.dead_letters import DeadLetter, DeadLetters

app = App(
    name="dead",
    help="Dead letters: messages and notifications that got nowhere.",
    default_parameter=PLAIN,
)

AT_ONCE = 100
"""Redriven by one call, at most."""
COLUMNS = ("ID", "KIND", "COUNT", "SINCE", "SUBSCRIBER", "REASON")

Source = Annotated[str, Parameter(name="QUEUE", help="The name of the queue, or topic.")]
OfTopic = Annotated[bool, Parameter(name="--topic", help="QUEUE is the name of a topic.")]
Reason = Annotated[str | None, Parameter(help="Only those with this in their reason.")]


@app.command(name="list")
async def list_dead(
    source: Source,
    /,
    *,
    reason: Reason = None,
    topic: OfTopic = False,
    options: Options = DEFAULTS,
) -> None:
    """List the dead letters of a queue: its own and those of notifications of its messages."""
    async with options.client() as client:

        async def records() -> AsyncIterator[tuple[Mapping[str, Any], Cells]]:
            async for letter in _of(client, source, topic).list(reason=reason, page=AT_ONCE):
                yield document(letter), _cells(letter)

        if not await options.output.rows(COLUMNS, records()):
            options.output.note("No dead letters.")


@app.command
async def show(
    source: Source,
    id_: Annotated[str, Parameter(name="ID", help="The dead letter's id.")],
    /,
    *,
    topic: OfTopic = False,
    options: Options = DEFAULTS,
) -> None:
    """Show one dead letter with its body."""
    async with options.client() as client:
        async for letter in _of(client, source, topic).list(page=AT_ONCE):
            if letter.id == id_:
                options.output.pairs(document(letter))
                return
    what = f"{'Topic' if topic else 'Queue'} {source}"
    raise CommandFailed(Exit.REFUSED, f"{what} has no dead letter of this id.")


@app.command(usage="Usage: nuska dead redrive [OPTIONS] QUEUE [ID...]")
async def redrive(
    source: Source,
    /,
    *ids: Annotated[str, Parameter(name="ID", help="The dead letters' ids; else all of them.")],
    reason: Reason = None,
    rate: Annotated[
        float | None, Parameter(help="At most so many a second; else as fast as it goes.")
    ] = None,
    dry_run: Annotated[bool, Parameter(help="Only say how many it would be.")] = False,
    topic: OfTopic = False,
    options: Options = DEFAULTS,
) -> None:
    """Send dead letters on their way again: messages to their queue, notifications to their
    subscriber. What fails again is a dead letter again. Broken off, it can be repeated."""
    if rate is not None and rate <= 0:
        raise CommandFailed(Exit.USAGE, "--rate must be more than 0.")
    if len(ids) > AT_ONCE:
        raise CommandFailed(Exit.USAGE, f"Give at most {AT_ONCE} ids.")
    done: list[str] = []
    skipped = 0
    marker: str | None = None
    limit = AT_ONCE if rate is None else max(1, min(AT_ONCE, int(rate)))
    async with options.client() as client:
        letters = _of(client, source, topic)
        while True:
            part = await letters.redrive(
                ids=list(ids) or None, reason=reason, limit=limit, marker=marker, dry_run=dry_run
            )
            done += part.ids
            skipped += part.skipped
            if part.complete:
                break
            marker = part.marker
            if rate is not None and not dry_run:
                await asyncio.sleep(len(part.ids) / rate)
    _reported(options, len(done), skipped, dry_run=dry_run)
    missing = len(set(ids)) - len(done) - skipped
    if missing > 0:
        what = f"{'Topic' if topic else 'Queue'} {source} has no dead letter"
        sentence = f"{what} of {'this id' if len(set(ids)) == 1 else f'{missing} of these ids'}."
        raise CommandFailed(Exit.REFUSED, sentence)


def _reported(options: Options, done: int, skipped: int, *, dry_run: bool) -> None:
    if options.as_json:
        options.output.json({"redriven": done, "skipped": skipped, "dry_run": dry_run})
        return
    would = "would be redriven" if dry_run else "redriven"
    options.output.note(f"{counted(done, 'dead letter')} {would}.")
    if skipped:
        options.output.note(f"{counted(skipped, 'dead letter')} left: their subscription is gone.")


def _of(client: Client, source: str, topic: bool) -> DeadLetters:
    return (client.topic(source) if topic else client.queue(source)).dead_letters


def _cells(letter: DeadLetter) -> Cells:
    who = letter.subscriber or ""
    return (letter.id, letter.kind, letter.count, letter.at, who, letter.reason)
