"""A SQLite VFS that writes down what reaches the files, and fails where told to.

SQLite runs on it as on its own: every call goes on to the default VFS, so the real files
are what a killed process leaves behind. Beside them a log of writes, truncations, syncs,
creations and deletions is kept, in the order in which they took effect. ``power_loss.py``
makes from it the files as a disk that lost its power would show them.

Two models of a failing disk are built in, both as Linux behaves. A failed sync loses what it
was to write: the pages count as clean, the next sync does not try them again. And it is
reported once to each open file, not only to the one that asked.

Refuses to look at the shared memory beside the file: it is made anew at every start.
"""

import errno
from pathlib import Path
from threading import Lock
from typing import Literal

import apsw
from msgspec import Struct

Kind = Literal["create", "write", "truncate", "sync_began", "sync", "sync_failed", "delete"]
Call = Literal["write", "truncate", "sync", "delete", "open"]


class Event(Struct, frozen=True, gc=False, kw_only=True):
    """Something that happened to a file."""

    kind: Kind
    path: str
    file: int = 0
    """Which file: a path that is deleted and created again names two."""
    offset: int = 0
    data: bytes = b""
    size: int = 0
    began: int = 0
    """``sync``: only what was written before this place in the log is covered."""
    directory: bool = False
    """``sync`` and ``delete``: the names in the directory were synced too."""


class Fault(Struct, kw_only=True):
    """From the ``nth`` matching call on, ``times`` calls fail."""

    call: Call
    suffix: str | None = None
    """``""`` the database, ``"-wal"`` its log, None any file."""
    nth: int = 1
    times: int = 1
    error: int = errno.EIO
    seen: int = 0
    """Matching calls so far."""

    def strikes(self, call: Call, suffix: str) -> bool:
        if call != self.call or (self.suffix is not None and suffix != self.suffix):
            return False
        self.seen += 1
        return self.nth <= self.seen < self.nth + self.times


ALWAYS = 1 << 60
"""``Fault.times``: until ``heal``."""

_CODES = {
    "write": apsw.SQLITE_IOERR_WRITE,
    "truncate": apsw.SQLITE_IOERR_TRUNCATE,
    "sync": apsw.SQLITE_IOERR_FSYNC,
    "delete": apsw.SQLITE_IOERR_DELETE,
    "open": apsw.SQLITE_CANTOPEN,
}
_SUFFIXES = ("-wal", "-journal")
_SYNCED_WITH_DIRECTORY = (
    apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL
)


class RecordingVfs(apsw.VFS):
    """Give ``name`` to ``open_sqlite(…, vfs=name)``; call ``close`` when all are closed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.log: list[Event] = []
        self.faults: list[Fault] = []
        self.struck: list[Fault] = []
        """Every fault that has struck, once for each time."""
        self._lock = Lock()
        self._files: dict[str, int] = {}
        self._last_file = 0
        self._failed_syncs: dict[int, int] = {}
        super().__init__(name, "")

    def close(self) -> None:
        self.unregister()

    def heal(self) -> None:
        """The disk works again."""
        self.faults.clear()

    def now(self) -> int:
        """The present place in the log: a cut here knows everything before it."""
        return len(self.log)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path is None:
            return apsw.VFSFile("", name, flags)
        if self.strikes("open", path) is not None:
            raise apsw.CantOpenError("injected")
        return RecordingFile(self, path, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        fault = self.strikes("delete", filename)
        if fault is not None:
            raise failure("delete", fault)
        super().xDelete(filename, syncdir)
        with self._lock:
            file = self._files.pop(filename, 0)
            self.log.append(Event(kind="delete", path=filename, file=file, directory=bool(syncdir)))

    def excepthook(self, etype: object, evalue: object, etraceback: object) -> bool:
        """Injected failures are reported to SQLite, and to nobody else."""
        return isinstance(evalue, apsw.Error)

    def opened(self, path: str, *, existed: bool) -> int:
        """The number of the file at ``path``; a creation goes into the log."""
        with self._lock:
            file = self._files.get(path)
            if file is not None and existed:
                return file
            self._last_file += 1
            self._files[path] = self._last_file
            data = Path(path).read_bytes() if existed else b""
            self.log.append(Event(kind="create", path=path, file=self._last_file, data=data))
            return self._last_file

    def note(self, event: Event) -> int:
        """Append to the log; returns the place of the event."""
        with self._lock:
            self.log.append(event)
            return len(self.log) - 1

    def strikes(self, call: Call, path: str) -> Fault | None:
        """The fault that this call meets, if any."""
        suffix = next((end for end in _SUFFIXES if path.endswith(end)), "")
        with self._lock:
            met = [fault for fault in self.faults if fault.strikes(call, suffix)]
            self.struck.extend(met)
        return met[0] if met else None

    def failed_syncs(self, file: int) -> int:
        """How many syncs of this file have failed so far."""
        return self._failed_syncs.get(file, 0)

    def sync_has_failed(self, file: int) -> int:
        self._failed_syncs[file] = self.failed_syncs(file) + 1
        return self._failed_syncs[file]


class RecordingFile(apsw.VFSFile):
    """One open file."""

    def __init__(
        self,
        vfs: RecordingVfs,
        path: str,
        name: str | apsw.URIFilename | None,
        flags: list[int],
    ) -> None:
        existed = Path(path).exists()
        super().__init__("", name, flags)
        self._vfs = vfs
        self._path = path
        self._file = vfs.opened(path, existed=existed)
        self._failures_told = vfs.failed_syncs(self._file)
        # As SQLite's own VFS: the first sync of a journal or log syncs the directory too.
        may_create = bool(flags[0] & apsw.SQLITE_OPEN_CREATE)
        self._sync_directory = may_create and bool(flags[0] & _SYNCED_WITH_DIRECTORY)

    def xWrite(self, data: bytes | memoryview, offset: int) -> None:  # noqa: N802
        fault = self._vfs.strikes("write", self._path)
        content = bytes(data)
        if fault is not None and fault.error == errno.ENOSPC:
            content = content[: len(content) // 2]  # what still had room
        if fault is None or fault.error == errno.ENOSPC:
            super().xWrite(content, offset)
            self._note("write", offset=offset, data=content)
        if fault is not None:
            raise failure("write", fault)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        fault = self._vfs.strikes("truncate", self._path)
        if fault is not None:
            raise failure("truncate", fault)
        super().xTruncate(newsize)
        self._note("truncate", size=newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802
        began = self._note("sync_began")
        fault = self._vfs.strikes("sync", self._path)
        if fault is not None:
            self._failures_told = self._vfs.sync_has_failed(self._file)
            self._note("sync_failed", began=began)
            raise failure("sync", fault)
        super().xSync(flags)
        self._note("sync", began=began, directory=self._sync_directory)
        self._sync_directory = False
        if self._failures_told != self._vfs.failed_syncs(self._file):
            self._failures_told = self._vfs.failed_syncs(self._file)
            raise failure("sync", Fault(call="sync"))

    def excepthook(self, etype: object, evalue: object, etraceback: object) -> bool:
        return isinstance(evalue, apsw.Error)

    def _note(
        self,
        kind: Kind,
        *,
        offset: int = 0,
        data: bytes = b"",
        size: int = 0,
        began: int = 0,
        directory: bool = False,
    ) -> int:
        return self._vfs.note(
            Event(
                kind=kind,
                path=self._path,
                file=self._file,
                offset=offset,
                data=data,
                size=size,
                began=began,
                directory=directory,
            )
        )


def failure(call: Call, fault: Fault) -> Exception:
    """The exception that makes SQLite see this error."""
    if fault.error == errno.ENOSPC and call == "write":  # as SQLite's own VFS
        return apsw.FullError("injected: no space left on device")
    return apsw.exception_for(_CODES[call])
