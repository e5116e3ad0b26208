"""``nuska queue``: queues, their metadata and statistics."""

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from nuska.cli.carriages import Detach, report, watch
from nuska.cli.exits import CommandFailed, Exit
from nuska.cli.export_format import Malformed
from nuska.cli.exporting import destination
from nuska.cli.exporting import export as export_queue
from nuska.cli.importing import Import, Report, interrupted, open_input
from nuska.cli.options import DEFAULTS, PLAIN, Options, failure
from nuska.cli.output import Cells, assignments, compact, counted, document
from nuska.cli.standard_input import Unreadable
from nuska.client import ADMIN, ClientError, Queue, QueueEntry, Stats
from nuska.system import SystemClock

app = App(name="queue", help="Queues, their metadata and statistics.", default_parameter=PLAIN)

Name = Annotated[str, Parameter(help="The queue's name.")]
Settings = Annotated[
    str, Parameter(name="KEY=VALUE", help="Metadata; a value is JSON, or else text.")
]
Names = Annotated[str, Parameter(name="NAME", help="The queues' names.")]


@app.command(name="list")
async def list_queues(
    *,
    name: Annotated[str | None, Parameter(help="Only those whose name contains this.")] = None,
    where: Annotated[
        tuple[str, ...],
        Parameter(name="--where", help="Only those with this KEY=VALUE."),
    ] = (),
    detailed: Annotated[bool, Parameter(help="Show the metadata, too.")] = False,
    marker: Annotated[str | None, Parameter(help="Start after this name.")] = None,
    limit: Annotated[int | None, Parameter(help="Show so many at most.")] = None,
    options: Options = DEFAULTS,
) -> None:
    """List the project's queues by name."""
    async with options.client() as client:
        listing = client.queues(
            name=name, metadata=_pairs(where), detailed=detailed, marker=marker, page=20
        )

        async def records() -> AsyncIterator[tuple[Mapping[str, Any], Cells]]:
            left = limit
            async for entry in listing:
                if left == 0:
                    return
                left = None if left is None else left - 1
                yield _shown(entry), (entry.name, compact(entry.metadata))[: 1 + detailed]

        columns = ("NAME", "METADATA") if detailed else ("NAME",)
        if not await options.output.rows(columns, records()):
            options.output.note("No queues.")


@app.command(usage="Usage: nuska queue create [OPTIONS] NAME [KEY=VALUE...]")
async def create(name: Name, /, *settings: Settings, options: Options = DEFAULTS) -> None:
    """Create a queue. One that exists stays as it is."""
    metadata = _pairs(settings)
    async with options.client() as client:
        created = await client.queue(name).create(metadata or None)
    if options.as_json:
        options.output.json({"name": name, "created": created})
    elif created:
        options.output.note(f"Queue {name} created.")
    else:
        unchanged = "; its metadata are unchanged" if metadata else ""
        options.output.note(f"Queue {name} exists already{unchanged}.")


@app.command
async def show(name: Name, /, *, options: Options = DEFAULTS) -> None:
    """Show a queue's metadata, with the server's defaults."""
    async with options.client() as client:
        queue = client.queue(name)
        options.output.pairs(await queue.metadata())
        await _hint_at_absence(options, queue)


@app.command(name="set", usage="Usage: nuska queue set [OPTIONS] NAME [KEY=VALUE...]")
async def set_metadata(
    name: Name,
    /,
    *settings: Settings,
    remove: Annotated[tuple[str, ...], Parameter(help="Remove this key; may be repeated.")] = (),
    options: Options = DEFAULTS,
) -> None:
    """Set and remove keys of a queue's metadata, all or none; shows the result."""
    changes = _pairs(settings)
    if not changes and not remove:
        raise CommandFailed(Exit.USAGE, "Give KEY=VALUE to set or --remove KEY.")
    async with options.client() as client:
        options.output.pairs(await client.queue(name).update(changes, remove=remove))


@app.command(usage="Usage: nuska queue delete [OPTIONS] NAME...")
async def delete(*names: Names, options: Options = DEFAULTS) -> None:
    """Delete queues with all their messages. They need not exist."""
    _some(names)
    async with options.client() as client:
        for name in names:
            queue = client.queue(name)
            there = await queue.exists()
            await queue.delete()
            _told(options, name, "deleted", there=there)


@app.command
async def stats(name: Name, /, *, options: Options = DEFAULTS) -> None:
    """Count a queue's messages."""
    async with options.client() as client:
        queue = client.queue(name)
        options.output.pairs(_counted(await queue.stats()))
        await _hint_at_absence(options, queue)


@app.command
async def pool(name: Name, /, *, options: Options = DEFAULTS) -> None:
    """Say in which pool a queue lies, as an admin."""
    async with options.client(headers=ADMIN) as client:
        found = await client.queue(name).whereabouts()
    if options.as_json:
        options.output.json({"name": name, "pool": found.pool, "moving_to": found.moving_to})
        return
    if found.pool is None:
        options.output.note(f"Queue {name} lies in no pool, but in the catalogue's own store.")
    else:
        options.output.line(found.pool)
    if found.moving_to is not None:
        options.output.note(f"It is being moved to pool {found.moving_to}.")


@app.command
async def move(
    name: Name,
    /,
    *,
    to: Annotated[str, Parameter(help="The pool in which it is to lie.")],
    detach: Detach = False,
    options: Options = DEFAULTS,
) -> None:
    """Carry a queue to another pool while it is in use, as an admin.

    The server does it, also when this command ends or the server is restarted. The same
    command again shows how far it is.
    """
    async with options.client(headers=ADMIN) as client:
        queue = client.queue(name)
        carriage = await queue.move(to)
        if not detach:
            carriage = await watch(carriage, queue.moved, f"The move of queue {name}")
    report(options, carriage, f"Queue {name} lies in pool {to}")


@app.command
async def export(
    name: Name,
    /,
    *,
    output: Annotated[
        Path | None, Parameter(help="Write to this file, which is there only when it is whole.")
    ] = None,
    force: Annotated[bool, Parameter(help="Replace the file if there is one.")] = False,
    options: Options = DEFAULTS,
) -> None:
    """Write a queue's metadata and messages as JSON lines, claimed and delayed ones too.

    The queue stays as it is, and may be in use meanwhile.
    """
    with destination(output, replace=force) as write:
        async with options.client() as client:
            count = await export_queue(client, name, write, SystemClock())
    options.output.note(f"{counted(count, 'message')} of queue {name} exported.")


@app.command(name="import", usage="Usage: nuska queue import [OPTIONS] NAME [FILE]")
async def import_messages(
    name: Name,
    file: Annotated[
        Path | None, Parameter(name="FILE", help="What `nuska queue export` wrote; else stdin.")
    ] = None,
    /,
    *,
    metadata: Annotated[
        bool,
        Parameter(negative="--no-metadata", help="Create the queue with the metadata it had."),
    ] = True,
    renew: Annotated[
        bool, Parameter(help="Give messages their whole ttl again, also those that have expired.")
    ] = False,
    after: Annotated[int, Parameter(help="Leave out the lines up to this one.")] = 0,
    options: Options = DEFAULTS,
) -> None:
    """Post what an export holds. Messages get new ids; those whose ttl has ended are left out.

    A queue that exists keeps its metadata and its messages. Done again within ten minutes
    it posts nothing twice.
    """
    descriptor = open_input(file)
    async with options.client() as client:
        work = Import(client.queue(name), SystemClock(), after=after, renew=renew)
        try:
            await work.run(descriptor, metadata=metadata)
        except (Malformed, Unreadable) as error:
            raise CommandFailed(Exit.REFUSED, interrupted(error, work.report)) from error
        except ClientError as error:
            code = failure(error).code
            raise CommandFailed(code, interrupted(error, work.report)) from error
    _reported(options, name, work.report, metadata=metadata)


def _reported(options: Options, name: str, report: Report, *, metadata: bool) -> None:
    if options.as_json:
        options.output.json(
            {
                "name": name,
                "created": report.created,
                "imported": report.imported,
                "expired": report.expired,
                "repeated": report.repeated,
                "undelayed": report.undelayed,
            }
        )
        return
    options.output.note(f"{counted(report.imported, 'message')} imported into queue {name}.")
    if report.repeated:
        there = counted(report.repeated, "message")
        options.output.note(f"{there} left out: an import within ten minutes has stored them.")
    if report.expired:
        options.output.note(f"{counted(report.expired, 'message')} left out: their ttl has ended.")
    if report.undelayed:
        undelayed = counted(report.undelayed, "message")
        options.output.note(
            f"{undelayed} can be claimed at once instead of later: the queue has no "
            "_default_message_delay."
        )
    if metadata and not report.created:
        options.output.note(f"Queue {name} existed already; its metadata are unchanged.")


@app.command(usage="Usage: nuska queue purge [OPTIONS] NAME...")
async def purge(*names: Names, options: Options = DEFAULTS) -> None:
    """Delete all messages of queues. The queues and their metadata stay."""
    _some(names)
    async with options.client() as client:
        for name in names:
            queue = client.queue(name)
            there = await queue.exists()
            await queue.purge()
            _told(options, name, "purged", there=there)


def _pairs(texts: tuple[str, ...]) -> dict[str, Any]:
    try:
        return assignments(texts)
    except ValueError as error:
        raise CommandFailed(Exit.USAGE, f"{error}.") from None


def _some(names: tuple[str, ...]) -> None:
    if not names:
        raise CommandFailed(Exit.USAGE, "Give the name of a queue.")


def _told(options: Options, name: str, done: str, *, there: bool) -> None:
    if options.as_json:
        options.output.json({"name": name, done: there})
    elif there:
        options.output.note(f"Queue {name} {done}.")
    else:
        options.output.note(f"There was no queue {name}.")


async def _hint_at_absence(options: Options, queue: Queue) -> None:
    """A queue that nobody has made is shown as it would be; a mistyped name, too."""
    if options.as_json:
        return
    with suppress(ClientError):  # who may not ask is not told
        if not await queue.exists():
            options.output.note(f"There is no queue {queue.name} yet; the first post makes it.")


def _shown(entry: QueueEntry) -> dict[str, Any]:
    return document(entry)


def _counted(stats: Stats) -> dict[str, Any]:
    counts: dict[str, Any] = {
        "free": stats.free,
        "claimed": stats.claimed,
        "total": stats.total,
    }
    for name, mark in (("oldest", stats.oldest), ("newest", stats.newest)):
        counts[name] = mark and {"id": mark.id, "age": mark.age, "created": mark.created}
    return counts
