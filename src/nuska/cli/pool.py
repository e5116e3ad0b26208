"""``nuska pool``: the stores that queues are placed over, as an operator sees and changes them."""

import sys
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

from cyclopts import App, Parameter

from nuska.cli.carriages import Detach, report, watch
from nuska.cli.exits import CommandFailed, Exit
from nuska.cli.options import DEFAULTS, PLAIN, Options
from nuska.cli.output import Cells, assignments, compact, document
from nuska.cli.standard_input import invite
from nuska.client import ADMIN

app = App(
    name="pool", help="Pools: the stores that queues are placed over.", default_parameter=PLAIN
)

DEFAULT_WEIGHT = 100
MAX_LINE = 4096
"""Characters of a URI on standard input; far more than a server takes."""

Name = Annotated[str, Parameter(help="The pool's name.")]


@app.command(name="list")
async def list_pools(
    *,
    detailed: Annotated[bool, Parameter(help="Show the options, too.")] = False,
    options: Options = DEFAULTS,
) -> None:
    """List the server's pools by name. Passwords are not shown."""
    async with options.client(headers=ADMIN) as client:

        async def records() -> AsyncIterator[tuple[Mapping[str, Any], Cells]]:
            async for pool in client.pools(detailed=detailed):
                cells = (pool.name, pool.weight, pool.flavor or "", pool.uri)
                yield document(pool), (*cells, compact(pool.options))[: 4 + detailed]

        columns = ("NAME", "WEIGHT", "FLAVOR", "URI", "OPTIONS")[: 4 + detailed]
        if not await options.output.rows(columns, records()):
            options.output.note("No pools.")


@app.command
async def show(name: Name, /, *, options: Options = DEFAULTS) -> None:
    """Show a pool. Its password is not shown."""
    async with options.client(headers=ADMIN) as client:
        options.output.pairs(document(await client.pool(name).show()))


@app.command(usage="Usage: nuska pool put [OPTIONS] NAME [URI]")
async def put(
    name: Name,
    uri: Annotated[
        str | None, Parameter(help="As for `nuska serve --store`; else a line of standard input.")
    ] = None,
    /,
    *,
    weight: Annotated[
        int, Parameter(help="How likely a new queue lands here; 0: none does.")
    ] = DEFAULT_WEIGHT,
    flavor: Annotated[str | None, Parameter(help="The flavor it belongs to.")] = None,
    option: Annotated[
        tuple[str, ...], Parameter(help="KEY=VALUE, kept with the pool; may be repeated.")
    ] = (),
    options: Options = DEFAULTS,
) -> None:
    """Add a pool, or put it in place of the one of its name, whole.

    Others on this machine can see the words of a command: a URI with a password goes through
    standard input.
    """
    try:
        kept = assignments(option)
    except ValueError as error:
        raise CommandFailed(Exit.USAGE, f"{error}.") from None
    if uri is None:
        invite("The URI of the pool's store:")
        uri = sys.stdin.readline(MAX_LINE).strip()
    async with options.client(headers=ADMIN) as client:
        await client.pool(name).put(uri, weight=weight, flavor=flavor, options=kept or None)
    options.output.done({"name": name, "put": True}, f"Pool {name} is there.")


@app.command
async def update(
    name: Name,
    /,
    *,
    uri: Annotated[str | None, Parameter(help="Another store.")] = None,
    weight: Annotated[
        int | None, Parameter(help="How likely a new queue lands here; 0: none does.")
    ] = None,
    flavor: Annotated[str | None, Parameter(help="The flavor it belongs to.")] = None,
    option: Annotated[
        tuple[str, ...], Parameter(help="KEY=VALUE, in place of all that were kept.")
    ] = (),
    options: Options = DEFAULTS,
) -> None:
    """Change some of what a pool is; the rest stays."""
    try:
        kept = assignments(option)
    except ValueError as error:
        raise CommandFailed(Exit.USAGE, f"{error}.") from None
    said = {"uri": uri, "weight": weight, "flavor": flavor, "options": kept or None}
    changes: dict[str, Any] = {key: value for key, value in said.items() if value is not None}
    if not changes:
        raise CommandFailed(Exit.USAGE, "Say what is to change.")
    async with options.client(headers=ADMIN) as client:
        changed = await client.pool(name).update(changes)
    options.output.done(document(changed), f"Pool {name} is changed.")


@app.command(usage="Usage: nuska pool delete [OPTIONS] NAME...")
async def delete(
    *names: Annotated[str, Parameter(name="NAME", help="The pools' names.")],
    options: Options = DEFAULTS,
) -> None:
    """Remove pools whose queues hold nothing. They need not exist."""
    if not names:
        raise CommandFailed(Exit.USAGE, "Give the name of a pool.")
    async with options.client(headers=ADMIN) as client:
        for name in names:
            await client.pool(name).delete()
            options.output.done({"name": name, "deleted": True}, f"Pool {name} is gone.")


@app.command
async def drain(
    name: Name,
    /,
    *,
    to: Annotated[
        str | None, Parameter(help="The pool for all of it; else wherever each queue may lie.")
    ] = None,
    detach: Detach = False,
    options: Options = DEFAULTS,
) -> None:
    """Carry every queue of a pool elsewhere while they are in use, and give it the weight 0.

    The server does it, also when this command ends or the server is restarted. The same
    command again shows how far it is.
    """
    async with options.client(headers=ADMIN) as client:
        pool = client.pool(name)
        carriage = await pool.drain(to)
        if not detach:
            carriage = await watch(carriage, pool.drained, f"The drain of pool {name}")
    report(options, carriage, f"Pool {name} is empty")
