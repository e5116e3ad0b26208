"""``nuska key``: the API keys of a project.

With ``--in-store`` a key is made in the store itself, without a server and without being asked
who one is: whoever can open the store could do so anyhow, and a server that lets nobody in
without a key needs a first one.
"""

import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from nuska.cli.exits import CommandFailed, Exit
from nuska.cli.options import DEFAULTS, PLAIN, TOKEN_VARIABLE, Options
from nuska.cli.output import Cells, document
from nuska.client import ADMIN, Key

app = App(name="key", help="API keys of the service's own.", default_parameter=PLAIN)

Id = Annotated[str, Parameter(name="ID", help="The key's id.")]
Ids = Annotated[str, Parameter(name="ID", help="The keys' ids.")]
COLUMNS = ("ID", "NAME", "ROLES", "QUEUES", "ACTIONS", "EXPIRES", "LAST USED")
OPEN = (
    "Keys count where the server asks for proof: nuska serve --auth keys (or keystone, or jwt). "
    "Without --auth it lets everybody in, and asks for none."
)
OPERATOR = "operator"
"""Who made a key, when it was made in the store."""


@app.command(usage="Usage: nuska key create [OPTIONS] [NAME]")
async def create(
    name: Annotated[str, Parameter(name="NAME", help="What the key is for.")] = "",
    /,
    *,
    role: Annotated[tuple[str, ...], Parameter(help="A role; may be repeated. Else member.")] = (),
    queue: Annotated[
        tuple[str, ...], Parameter(help="A queue it is good for; may be repeated. Else all.")
    ] = (),
    topic: Annotated[
        tuple[str, ...], Parameter(help="A topic it is good for; may be repeated. Else all.")
    ] = (),
    action: Annotated[
        tuple[str, ...],
        Parameter(help="What it may do, such as messages:create or claims:*; may be repeated."),
    ] = (),
    ttl: Annotated[int | None, Parameter(help="Seconds it is good for. Else for ever.")] = None,
    in_store: Annotated[
        bool, Parameter(help="Make it in the store itself; a server need not run.")
    ] = False,
    store: Annotated[
        str | None, Parameter(help="The store, with --in-store; else what the settings say.")
    ] = None,
    data: Annotated[
        Path | None, Parameter(help="Data directory; else what the settings say.")
    ] = None,
    config: Annotated[Path | None, Parameter(help="TOML file with settings.")] = None,
    options: Options = DEFAULTS,
) -> None:
    """Make a key and print it. It is not shown again."""
    limits: dict[str, Any] = {
        "roles": role or None,
        "queues": queue or None,
        "topics": topic or None,
        "actions": action or None,
        "ttl": ttl,
    }
    if in_store:
        made, counts = await _make_in_store(name, limits, options, store, data, config)
    elif store is not None or data is not None or config is not None:
        raise CommandFailed(Exit.USAGE, "--store, --data and --config go with --in-store.")
    else:
        async with options.client(headers=ADMIN) as client:
            answer = await client.keys().create(name, **limits)
        made = {"id": answer.id, "key": answer.key}
        counts = bool(os.environ.get(TOKEN_VARIABLE))  # else it asks nobody
    if options.as_json:
        options.output.json(made)
    else:
        options.output.line(made["key"])
        options.output.note(f"Keep it: the key {made['id']} is not shown again.")
        if not counts:
            options.output.note(OPEN)


@app.command(name="list")
async def list_keys(*, options: Options = DEFAULTS) -> None:
    """List the project's keys by id. Their secrets are not shown."""
    async with options.client(headers=ADMIN) as client:

        async def records() -> AsyncIterator[tuple[Mapping[str, Any], Cells]]:
            async for key in client.keys().list():
                yield document(key), _cells(key)

        if not await options.output.rows(COLUMNS, records()):
            options.output.note("No keys.")


@app.command
async def show(id_: Id, /, *, options: Options = DEFAULTS) -> None:
    """Show a key. Its secret is not shown."""
    async with options.client(headers=ADMIN) as client:
        options.output.pairs(document(await client.keys().show(id_)))


@app.command(usage="Usage: nuska key revoke [OPTIONS] ID...")
async def revoke(*ids: Ids, options: Options = DEFAULTS) -> None:
    """Revoke keys: they are good no more. They need not exist."""
    if not ids:
        raise CommandFailed(Exit.USAGE, "Give the id of a key.")
    async with options.client(headers=ADMIN) as client:
        for id_ in ids:
            await client.keys().revoke(id_)
            options.output.done({"id": id_, "revoked": True}, f"Key {id_} is good no more.")


def _cells(key: Key) -> Cells:
    return (
        key.id,
        key.name,
        ",".join(key.roles),
        "all" if key.queues is None else ",".join(key.queues),
        "all" if key.actions is None else ",".join(key.actions),
        f"{key.expires or 'never'}{' (over)' if key.expired else ''}",
        key.last_used or "never",
    )


async def _make_in_store(
    name: str,
    limits: dict[str, Any],
    options: Options,
    store: str | None,
    data: Path | None,
    config: Path | None,
) -> tuple[dict[str, str], bool]:
    """The key, and whether the settings ask anybody for one."""
    from nuska.cli.configured import configured
    from nuska.core.keys import KeyDraft
    from nuska.domain.errors import NuskaError
    from nuska.drivers import CannotStart
    from nuska.opening import opened

    settings, directory = configured(store, data, config)
    draft = KeyDraft(
        name=name,
        queues=limits["queues"],
        topics=limits["topics"],
        actions=limits["actions"],
        ttl=limits["ttl"],
    )
    if limits["roles"]:
        draft = draft.with_roles(limits["roles"])
    try:
        async with opened(settings, directory) as backend:
            made = await backend.core.keys.issue(options.project, draft, by=OPERATOR)
    except CannotStart as error:
        raise CommandFailed(Exit.REFUSED, str(error)) from error
    except NuskaError as error:
        raise CommandFailed(Exit.REFUSED, error.description) from error
    return {"id": made.key.id, "key": made.secret}, not settings.is_open
