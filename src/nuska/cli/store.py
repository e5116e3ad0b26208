"""``nuska store``: what an operator does to a store apart from serving it.

Reads the same settings as ``nuska serve``, and never starts a server.
"""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.filesize import decimal

from nuska.cli.configured import configured
from nuska.cli.exits import CommandFailed, Exit
from nuska.cli.options import PLAIN
from nuska.cli.progress import Progress
from nuska.drivers import CannotStart, back_up_store, migrate_store, restore_store

app = App(name="store", help="Look after the store that a server uses.", default_parameter=PLAIN)

Store = Annotated[str | None, Parameter(help="The store; else what the settings say.")]
Data = Annotated[Path | None, Parameter(help="Data directory; else what the settings say.")]
Config = Annotated[Path | None, Parameter(help="TOML file with settings.")]


@app.command
def backup(
    file: Annotated[Path, Parameter(help="Where the copy goes.")],
    /,
    *,
    force: Annotated[bool, Parameter(help="Replace FILE if there is one.")] = False,
    check: Annotated[
        bool, Parameter(negative="--no-check", help="See whether the copy holds together.")
    ] = True,
    store: Store = None,
    data: Data = None,
    config: Config = None,
) -> int:
    """Copy an SQLite store to a file, also while a server uses it.

    The copy holds everything that was acknowledged before the command began.
    """
    settings, directory = configured(store, data, config)
    with Progress(1, "copied", in_bytes=True) as progress:
        try:
            size = back_up_store(
                settings.store,
                directory,
                file,
                replace=force,
                check=check,
                seen=lambda copied, size: progress.show(copied, size=size),
            )
        except CannotStart as error:
            raise CommandFailed(Exit.REFUSED, str(error)) from error
    sys.stdout.write(f"{file} holds the store as it was: {decimal(size)}.\n")
    return Exit.DONE


@app.command
def restore(
    file: Annotated[Path, Parameter(help="A copy that `nuska store backup` made.")],
    /,
    *,
    force: Annotated[
        bool, Parameter(help="Put a store that is there aside, and keep it under another name.")
    ] = False,
    store: Store = None,
    data: Data = None,
    config: Config = None,
) -> int:
    """Make a copy the store. No server may be running on it."""
    settings, directory = configured(store, data, config)
    with Progress(1, "copied", in_bytes=True) as progress:
        try:
            kept = restore_store(
                settings.store,
                directory,
                file,
                replace=force,
                seen=lambda copied, size: progress.show(copied, size=size),
            )
        except CannotStart as error:
            raise CommandFailed(Exit.REFUSED, str(error)) from error
    sys.stdout.write(f"{file} is the store now.\n")
    if kept is not None:
        sys.stdout.write(f"What was there is kept as {kept}.\n")
    return Exit.DONE


@app.command
def migrate(*, store: Store = None, config: Config = None) -> int:
    """Bring a store that an earlier version made to this one. Stop the other nodes first."""
    settings, _ = configured(store, None, config)
    try:
        changed = asyncio.run(migrate_store(settings.store))
    except CannotStart as error:
        raise CommandFailed(Exit.REFUSED, str(error)) from error
    sys.stdout.write("The store is current now.\n" if changed else "The store was current.\n")
    return Exit.DONE
