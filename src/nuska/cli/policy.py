"""``nuska policy``: what a policy file says, before a server starts with it."""

import json
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from nuska.cli.exits import Exit, complain
from nuska.cli.options import PLAIN
from nuska.core.access import HELPERS, RULES, Access
from nuska.domain.policy import PolicyError
from nuska.permitting import access_by

app = App(name="policy", help="Who may do what, and a file that says so.", default_parameter=PLAIN)


@app.command(usage="Usage: nuska policy show [FILE]")
def show(
    file: Annotated[Path | None, Parameter(help="A policy file; else the default policy.")] = None,
    /,
) -> int:
    """Print every rule that holds, as a file could have it."""
    access = _read(file)
    if access is None:
        return Exit.REFUSED
    own = [name for name in access.rules if name not in HELPERS and name not in RULES]
    for name in (*HELPERS, *sorted(own), *sorted(RULES)):
        sys.stdout.write(f"{json.dumps(name)}: {json.dumps(access.rules[name])}\n")
    return Exit.DONE


@app.command(usage="Usage: nuska policy check [OPTIONS] FILE [PERMISSION...]")
def check(
    file: Annotated[Path, Parameter(help="A policy file.")],
    /,
    *permissions: Annotated[str, Parameter(help="Permissions, such as queues:create.")],
    role: Annotated[tuple[str, ...], Parameter(help="A role; may be repeated.")] = (),
    project: Annotated[str, Parameter(help="The id of the project.")] = "",
) -> int:
    """Say what is wrong with a file; and, of each permission, whether the roles have it."""
    access = _read(file)
    if access is None:
        return Exit.REFUSED
    if unknown := sorted(set(permissions) - RULES.keys()):
        complain(f"There is no permission {', '.join(unknown)}.")
        return Exit.USAGE
    permitted = access.permitted(frozenset(one.lower() for one in role), project)
    for name in permissions:
        sys.stdout.write(f"{name}\t{'yes' if name in permitted else 'no'}\n")
    return Exit.DONE


def _read(file: Path | None) -> Access | None:
    try:
        return access_by("" if file is None else str(file))
    except PolicyError as error:
        for problem in error.problems:
            complain(problem)
        return None
