"""``nuska store backup`` beside a server that works, and ``nuska store restore``."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nuska.client import ClientError, NewMessage
from nuska.client.blocking import BlockingClient
from nuska.testing.server_process import ServerProcess

COMMAND_LIMIT = 120.0
BEFORE = 6000
"""Messages acknowledged before the backup begins: 12 MB, several steps of copying."""


def nuska(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "nuska", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=COMMAND_LIMIT,
        check=False,
    )


class Posting:
    """Posts numbered messages without a pause; remembers which are acknowledged, in order."""

    def __init__(self, url: str) -> None:
        self._client = BlockingClient(url, project="acme")
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._over = threading.Event()
        self.enough = threading.Event()
        self.acknowledged: list[str] = []

    def __enter__(self) -> "Posting":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(COMMAND_LIMIT)

    def _run(self) -> None:
        with self._client as client:
            queue = client.queue("jobs")
            while not self._over.is_set():
                n = len(self.acknowledged)
                batch = [NewMessage(body=[n + i, "x" * 2000]) for i in range(100)]
                try:
                    self.acknowledged += queue.post_many(batch)
                except ClientError:
                    return
                if len(self.acknowledged) >= BEFORE:
                    self.enough.set()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "data") as running:
        yield running


@pytest.mark.slow
def test_a_backup_under_load_is_a_prefix_with_all_that_was_acknowledged_before(
    server: ServerProcess, tmp_path: Path
) -> None:
    with Posting(server.url) as posting:
        assert posting.enough.wait(COMMAND_LIMIT)
        before = len(posting.acknowledged)
        done = nuska("store", "backup", tmp_path / "backup", "--data", server.data)
        assert (done.returncode, done.stderr) == (0, "")
        during = len(posting.acknowledged)
    assert during > before, "the server went on while it was copied"
    acknowledged = posting.acknowledged
    done = nuska("store", "restore", tmp_path / "backup", "--data", tmp_path / "other")
    assert (done.returncode, done.stderr) == (0, "")
    with (
        ServerProcess(tmp_path / "other") as other,
        BlockingClient(other.url, project="acme") as client,
    ):
        held = [message.id for message in client.queue("jobs").messages(page=20)]
        assert len(held) >= before
        assert held[: len(acknowledged)] == acknowledged[: len(held)]
        # A reader goes on where it was, whichever of the two it asks; a new post comes last.
        queue = client.queue("jobs")
        new = queue.post("after the restore")
        assert next(iter(queue.messages(marker=held[99], page=1))).id == held[100]
        assert [message.id for message in queue.messages(marker=held[-1])] == [new]


def test_a_server_that_starts_sends_a_backup_away_and_is_up(
    server: ServerProcess, tmp_path: Path
) -> None:
    with BlockingClient(server.url, project="acme") as client:
        client.queue("jobs").post("kept")
    server.kill()
    # Opens the database, says so, and copies on when it has been asked to let go.
    program = (
        "import pathlib, sys, time\n"
        "from nuska.stores.sqlite.backup import back_up\n"
        "lock = pathlib.Path(sys.argv[1], 'nuska.db.lock')\n"
        "changed = lock.stat().st_mtime_ns\n"
        "def seen(done, size):\n"
        "    print(flush=True)\n"
        "    while lock.stat().st_mtime_ns == changed: time.sleep(0.01)\n"
        "target = pathlib.Path(sys.argv[2])\n"
        "back_up('sqlite:', sys.argv[1], target, replace=False, check=True, seen=seen)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(server.data), str(tmp_path / "backup")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as copying:
        assert copying.stdout is not None
        copying.stdout.readline()
        server.start()
        _, said = copying.communicate(timeout=COMMAND_LIMIT)
    assert "Begin the backup again" in said
    assert not (tmp_path / "backup").exists()
    with BlockingClient(server.url, project="acme") as client:
        assert [message.body for message in client.queue("jobs").messages()] == ["kept"]


def test_stores_of_other_engines_are_left_to_their_own_tools() -> None:
    done = nuska("store", "backup", "x.db", "--store", "postgresql://u:secret@db/queues")
    assert done.returncode == 1
    assert "pg_dump" in done.stderr
    assert "secret" not in done.stderr


def test_a_restore_beside_a_running_server_is_refused(
    server: ServerProcess, tmp_path: Path
) -> None:
    assert nuska("store", "backup", tmp_path / "backup", "--data", server.data).returncode == 0
    again = nuska("store", "backup", tmp_path / "backup", "--data", server.data)
    assert again.returncode == 1
    assert "is there already" in again.stderr
    done = nuska("store", "restore", tmp_path / "backup", "--data", server.data, "--force")
    assert done.returncode == 1
    assert "in use already, by another process" in done.stderr
