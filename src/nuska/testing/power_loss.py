"""The files as they are found after a crash, made from a log of ``recording_vfs.py``.

``Disk`` is moved along the log event by event; at any place it can say what would be there
    killed       after SIGKILL: everything written, since the page cache survives
    synced_only  after a power loss: what successful syncs cover, and nothing else
    torn         after a power loss too, but of what was not synced some sectors survived

Bytes that a failed sync was to write count as never written until they are written again.
Refuses to guess about names: a new file exists, and a deleted one is gone, when the directory
has been synced since.
"""

from collections.abc import Iterable
from pathlib import Path
from random import Random

from nuska.testing.recording_vfs import Event

SECTOR = 512
"""Bytes that a disk writes whole or not at all."""

Files = dict[str, bytes]
"""Contents by path."""


class _File:
    """One file: what the disk holds, what the page cache shows, and the way between."""

    def __init__(self, data: bytes) -> None:
        self.durable = bytearray(data)
        self.cached = bytearray(data)
        self.pending: list[tuple[int, Event]] = []

    def note(self, place: int, event: Event) -> None:
        _apply(self.cached, event)
        self.pending.append((place, event))

    def synced(self, began: int, *, lost: bool) -> None:
        """What was written before ``began`` is on the disk, or never will be."""
        if not lost:
            for place, event in self.pending:
                if place < began:
                    _apply(self.durable, event)
        self.pending = [entry for entry in self.pending if entry[0] >= began]


class Disk:
    """A directory of files, at some place of the log."""

    def __init__(self) -> None:
        self._files: dict[int, _File] = {}
        self._names: dict[str, int] = {}
        self._durable_names: dict[str, int] = {}
        self._place = 0
        self.version = 0
        """Goes up whenever ``synced_only`` may have changed."""

    def move(self, events: Iterable[Event]) -> None:
        """Take the next events of the log."""
        for event in events:
            self._take(event)
            self._place += 1

    def _take(self, event: Event) -> None:
        if event.kind == "create":
            self._files[event.file] = _File(event.data)
            self._names[event.path] = event.file
            if event.data:  # it was there before the log began
                self._durable_names[event.path] = event.file
        elif event.kind == "delete":
            self._names.pop(event.path, None)
        elif event.kind in ("write", "truncate"):
            self._files[event.file].note(self._place, event)
        elif event.kind in ("sync", "sync_failed"):
            self._files[event.file].synced(event.began, lost=event.kind == "sync_failed")
            self.version += event.kind == "sync"
        if event.directory:
            self._durable_names = dict(self._names)
            self.version += 1

    def killed(self) -> Files:
        return {path: bytes(self._files[file].cached) for path, file in self._names.items()}

    def synced_only(self) -> Files:
        return {
            path: bytes(self._files[file].durable) for path, file in self._durable_names.items()
        }

    def torn(self, random: Random) -> Files:
        """Some of what was not synced survives; names too."""
        names = self._names if random.random() < 0.5 else self._durable_names
        share = random.choice((0.1, 0.5, 0.9))
        files: Files = {}
        for path, file in names.items():
            content = bytearray(self._files[file].durable)
            for _, event in self._files[file].pending:
                _apply_some_sectors(content, event, random, share)
            files[path] = bytes(content)
        return files


def lay_out(files: Files, directory: Path) -> None:
    """Write the files into an empty directory."""
    directory.mkdir(parents=True)
    for path, content in files.items():
        (directory / Path(path).name).write_bytes(content)


def _apply(content: bytearray, event: Event) -> None:
    if event.kind == "truncate":
        _resize(content, event.size)
    else:
        _put(content, event.offset, event.data)


def _apply_some_sectors(content: bytearray, event: Event, random: Random, share: float) -> None:
    """A write of several sectors may survive in part: the disk chooses their order."""
    if event.kind == "truncate":
        if random.random() < share:
            _resize(content, event.size)
        return
    start = 0
    while start < len(event.data):
        end = start + SECTOR - (event.offset + start) % SECTOR
        if random.random() < share:
            _put(content, event.offset + start, event.data[start:end])
        start = end


def _put(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset + len(data):
        _resize(content, offset + len(data))
    content[offset : offset + len(data)] = data


def _resize(content: bytearray, size: int) -> None:
    if size < len(content):
        del content[size:]
    else:
        content.extend(bytes(size - len(content)))
