"""The thread that waits for the disk: that it begins at once, and that nobody waits for it long."""

import sys
from collections.abc import Iterator
from threading import Event

import pytest

from nuska.stores.sqlite import committing
from nuska.stores.sqlite.committing import CommitThread

AMPLE = 10.0


@pytest.fixture
def thread() -> Iterator[CommitThread]:
    thread = CommitThread()
    yield thread
    thread.stop()


@pytest.fixture
def unwilling() -> Iterator[None]:
    """A thread that runs lets no other have the interpreter lock of its own accord."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(AMPLE)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("unwilling")
def test_a_job_has_begun_although_its_giver_goes_on_working(
    thread: CommitThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committing, "LONGEST_HANDSHAKE", AMPLE)
    begun: list[int] = []
    for number in range(50):
        disk = Event()

        def job(number: int = number, disk: Event = disk) -> None:
            begun.append(number)
            disk.wait(AMPLE)

        thread.begin(job)
        assert begun[-1] == number
        disk.set()


def test_a_job_that_cannot_begin_is_not_waited_for_and_is_done_in_its_turn(
    thread: CommitThread,
) -> None:
    done: list[str] = []
    disk = Event()
    thread.begin(lambda: done.append("waited" if disk.wait(AMPLE) else "in vain"))
    thread.begin(lambda: done.append("late"))
    thread.begin(lambda: done.append("later"))
    assert not done
    disk.set()
    last = Event()
    thread.begin(last.set)
    assert last.wait(AMPLE)
    assert done == ["waited", "late", "later"]


def test_stopping_waits_for_what_was_given() -> None:
    thread = CommitThread()
    disk = Event()
    done: list[bool] = []
    thread.begin(lambda: done.append(disk.wait(AMPLE)))
    disk.set()
    thread.stop()
    assert done == [True]
