"""``nuska flavor``: names for pools that can do the same."""

from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

from cyclopts import App, Parameter

from nuska.cli.exits import CommandFailed, Exit
from nuska.cli.options import DEFAULTS, PLAIN, Options
from nuska.cli.output import Cells, document
from nuska.client import ADMIN

app = App(
    name="flavor", help="Flavors: names for pools that can do the same.", default_parameter=PLAIN
)


@app.command(name="list")
async def list_flavors(
    *,
    detailed: Annotated[bool, Parameter(help="Show what the pools can do, too.")] = False,
    options: Options = DEFAULTS,
) -> None:
    """List the server's flavors by name."""
    async with options.client(headers=ADMIN) as client:

        async def records() -> AsyncIterator[tuple[Mapping[str, Any], Cells]]:
            async for flavor in client.flavors(detailed=detailed):
                can = " ".join(flavor.capabilities or ())
                cells = (flavor.name, " ".join(flavor.pool_list), can)
                yield document(flavor), cells[: 2 + detailed]

        columns = ("NAME", "POOLS", "CAPABILITIES")[: 2 + detailed]
        if not await options.output.rows(columns, records()):
            options.output.note("No flavors.")


@app.command(usage="Usage: nuska flavor put [OPTIONS] NAME POOL...")
async def put(
    name: Annotated[str, Parameter(help="The flavor's name.")],
    /,
    *pools: Annotated[str, Parameter(name="POOL", help="The names of all its pools.")],
    options: Options = DEFAULTS,
) -> None:
    """Add a flavor, or change which pools it has. Pools that are not named lose it."""
    if not pools:
        raise CommandFailed(Exit.USAGE, "Give the name of a pool.")
    async with options.client(headers=ADMIN) as client:
        await client.flavor(name).put(list(pools))
    options.output.done(
        {"name": name, "put": True}, f"Flavor {name} has the pools {', '.join(pools)}."
    )


@app.command(usage="Usage: nuska flavor delete [OPTIONS] NAME...")
async def delete(
    *names: Annotated[str, Parameter(name="NAME", help="The flavors' names.")],
    options: Options = DEFAULTS,
) -> None:
    """Remove flavors; their pools have none then. They need not exist."""
    if not names:
        raise CommandFailed(Exit.USAGE, "Give the name of a flavor.")
    async with options.client(headers=ADMIN) as client:
        for name in names:
            await client.flavor(name).delete()
            options.output.done({"name": name, "deleted": True}, f"Flavor {name} is gone.")
