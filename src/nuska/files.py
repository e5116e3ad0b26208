"""Files that appear whole or not at all: what a person keeps must never be half of something.

A file is written under a name of its own beside its place, synced, and renamed into place.
Refuses to overwrite unless told to, and to replace anything but a plain file ever.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import Struct

PRIVATE = 0o600
"""Messages are nobody else's business."""


class Draft(Struct, frozen=True):
    """A file that is being written."""

    path: Path
    """Where it is until it is done."""
    descriptor: int
    """Open for writing; closed by who opened it."""


@contextmanager
def appearing(path: Path, *, replace: bool = False) -> Iterator[Draft]:
    """Write to the draft; if the block ends well, ``path`` is that file, synced.

    Raises ``FileExistsError`` when there is one already, at the beginning if it can be known
    then. An error in the block leaves no trace.
    """
    _check_place(path, replace=replace)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
    try:
        try:
            yield Draft(draft, descriptor)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        put_in_place(draft, path, replace=replace)
    except BaseException:
        with suppress(FileNotFoundError):
            draft.unlink()
        raise


def put_in_place(draft: Path, path: Path, *, replace: bool) -> None:
    """Rename ``draft``, for good: it is there after a power loss, too."""
    if replace:
        draft.replace(path)
    else:
        try:
            os.link(draft, path)  # unlike a rename it does not overwrite
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            _check_place(path, replace=False)
            draft.replace(path)
        else:
            draft.unlink()
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make names that were given or taken here survive a power loss."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_place(path: Path, *, replace: bool) -> None:
    if not os.path.lexists(path):
        return
    if not replace:
        raise FileExistsError(f"{path} is there already")
    if path.is_symlink() or not path.is_file():
        raise FileExistsError(f"{path} is not a plain file, and is not replaced")
