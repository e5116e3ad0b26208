"""``nuska store``: what an operator does to a store apart from serving it.

Reads the same settings as ``nuska serve``, and never starts a server.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from nuska.assembly import CannotStart, migrate_store
from nuska.cli.exits import Exit, complain
from nuska.settings import SettingsError, load_settings

app = App(name="store", help="Look after the store that a server uses.")


@app.command
def migrate(
    *,
    store: Annotated[str | None, Parameter(help="The store; else what the settings say.")] = None,
    config: Annotated[Path | None, Parameter(help="TOML file with settings.")] = None,
) -> int:
    """Bring a store that an earlier version made to this one. Stop the other nodes first."""
    try:
        settings = load_settings(flags={"store": store}, environment=os.environ, file=config)
    except SettingsError as error:
        for problem in error.problems:
            complain(problem)
        return Exit.USAGE
    try:
        changed = asyncio.run(migrate_store(settings.store))
    except CannotStart as error:
        complain(str(error))
        return Exit.REFUSED
    sys.stdout.write("The store is current now.\n" if changed else "The store was current.\n")
    return Exit.DONE
