"""The settings as ``nuska serve`` would read them, for commands that open the store themselves."""

import os
from pathlib import Path

from nuska.cli.exits import CommandFailed, Exit, complain
from nuska.settings import Settings, SettingsError, default_data_directory, load_settings


def configured(store: str | None, data: Path | None, config: Path | None) -> tuple[Settings, Path]:
    """The settings, with these flags, and the data directory."""
    flags = {"store": store, "data": None if data is None else str(data)}
    try:
        settings = load_settings(flags=flags, environment=os.environ, file=config)
    except SettingsError as error:
        *others, last = error.problems
        for problem in others:
            complain(problem)
        raise CommandFailed(Exit.USAGE, last) from error
    directory = Path(settings.data) if settings.data else default_data_directory(os.environ)
    return settings, directory.absolute()
