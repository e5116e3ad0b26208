"""``nuska quota``: what projects may have, how fast they may go, and how much of it there is."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any

from cyclopts import App, Parameter

from nuska.cli.exits import CommandFailed, Exit
from nuska.cli.options import DEFAULTS, PLAIN, Options
from nuska.cli.output import Cells, document
from nuska.client import ADMIN, Quota

app = App(name="quota", help="Quotas: what projects may have, and have.", default_parameter=PLAIN)

NONE, DEFAULT = "none", "default"
COLUMNS = ("LIMIT", "MAY", "HAS", "SET FOR")


@app.command
async def show(
    project: Annotated[
        str | None, Parameter(name="PROJECT", help="Another project; that needs the role admin.")
    ] = None,
    /,
    *,
    options: Options = DEFAULTS,
) -> None:
    """Show what a project may have, and how much of it there is."""
    async with options.client(headers=ADMIN) as client:
        await _show(options, await client.quotas().show(project))


@app.command(name="set")
async def set_limits(
    project: Annotated[str, Parameter(name="PROJECT", help="Whose limits.")],
    /,
    *limits: Annotated[
        str,
        Parameter(
            name="LIMIT=NUMBER",
            help="Such as messages=100000; none: no limit; default: as for every project.",
        ),
    ],
    options: Options = DEFAULTS,
) -> None:
    """Set limits of a project; what is not named stays as it is."""
    try:
        changes = _changes(limits)
    except ValueError as error:
        raise CommandFailed(Exit.USAGE, f"{error}.") from None
    async with options.client(headers=ADMIN) as client:
        quotas = client.quotas()
        kept = (await quotas.show(project)).overrides
        wanted = {name: limit for name, limit in kept.items() if name not in changes}
        wanted |= {name: limit for name, limit in changes.items() if limit != DEFAULT}
        await _show(options, await quotas.set(project, wanted))


@app.command
async def reset(
    *projects: Annotated[str, Parameter(name="PROJECT")], options: Options = DEFAULTS
) -> None:
    """Let the limits of every project hold for these, too."""
    if not projects:
        raise CommandFailed(Exit.USAGE, "Give the id of a project.")
    async with options.client(headers=ADMIN) as client:
        for project in projects:
            await client.quotas().reset(project)
            options.output.done(
                {"project": project, "reset": True}, f"{project}: the limits of every project hold."
            )


def _changes(limits: Sequence[str]) -> dict[str, Any]:
    """New limits by name; None for none, or ``DEFAULT``."""
    if not limits:
        raise ValueError("Say what is to change, such as messages=100000")
    changes: dict[str, Any] = {}
    for text in limits:
        name, found, value = text.partition("=")
        if not found or not name:
            raise ValueError(f"{text!r} is not LIMIT=NUMBER")
        if value == NONE:
            changes[name] = None
        elif value == DEFAULT:
            changes[name] = DEFAULT
        elif value.isdecimal():
            changes[name] = int(value)
        else:
            raise ValueError(f"{text!r}: the limit is a number, {NONE} or {DEFAULT}")
    return changes


async def _show(options: Options, quota: Quota) -> None:
    if options.as_json:
        options.output.json(document(quota))
        return

    async def rows() -> AsyncIterator[tuple[Mapping[str, Any], Cells]]:
        for name, limit in quota.limits.items():
            whose = quota.project if name in quota.overrides else "every project"
            yield {}, (name, NONE if limit is None else limit, quota.use.get(name, ""), whose)

    await options.output.rows(COLUMNS, rows())
