"""When a group of writes begins, and how much of the line it takes."""

from nuska.stores.sqlite.line import Line, Write
from nuska.stores.sqlite.pace import LONGEST_PAUSE, Pace

QUICK = 0.0004
SLOW = 0.05
A_TURN = 0.000_02


def _paced(*commits: tuple[int, int], seconds: float = QUICK) -> Pace:
    """A pace that has seen commits (answered, in line) at moment 0, many times the same."""
    pace = Pace()
    for _ in range(50):
        for answered, in_line in commits:
            pace.committed(answered, in_line, seconds, 0.0)
    return pace


def test_the_first_write_of_all_begins_at_once_and_alone() -> None:
    pace = Pace()
    assert pace.may_begin(1, 0.0)
    assert pace.share(1) == 1


def test_a_client_that_is_alone_never_waits_for_others() -> None:
    assert _paced((1, 0)).may_begin(1, A_TURN)


def test_the_first_to_come_back_waits_for_half_of_the_others() -> None:
    pace = _paced((31, 1))
    assert not pace.may_begin(1, A_TURN)
    assert not pace.may_begin(15, 2 * A_TURN)
    assert pace.may_begin(16, 3 * A_TURN)


def test_when_all_come_at_once_the_group_takes_half_of_them() -> None:
    assert _paced((31, 1)).share(32) == 16


def test_nobody_waits_for_clients_that_do_not_come_back() -> None:
    pace = _paced((31, 1))
    assert not pace.may_begin(1, A_TURN)
    assert pace.may_begin(1, A_TURN + LONGEST_PAUSE)


def test_the_pause_begins_anew_with_every_write_that_comes() -> None:
    pace = _paced((31, 1))
    assert not pace.may_begin(2, QUICK / 4)
    assert not pace.may_begin(3, QUICK / 2)
    assert not pace.may_begin(4, QUICK * 3 / 4)
    assert pace.may_begin(4, QUICK * 3 / 2)


def test_the_first_in_line_waits_no_longer_however_steadily_others_come() -> None:
    pace = _paced((512, 0), seconds=0.002)
    begun = next(
        number for number in range(1, 256) if pace.may_begin(number, number * LONGEST_PAUSE / 10)
    )
    assert begun <= 12


def test_a_slow_disk_is_shared_by_all_in_line() -> None:
    assert _paced((31, 1), seconds=SLOW).share(32) == 32


def test_after_a_commit_that_was_not_synced_nobody_waits() -> None:
    pace = _paced((31, 1))
    pace.forget()
    assert pace.may_begin(1, A_TURN)
    assert pace.share(40) == 40


def test_a_group_is_no_larger_than_its_share_and_keeps_the_order() -> None:
    line = Line()
    writes = [Write(None, 0, False, False, None) for _ in range(5)]  # type: ignore[arg-type]
    for write in writes:
        line.add(write)
    assert line.take(2) == writes[:2]
    assert line.take(2) == writes[2:4]
    assert line.take(2) == writes[4:]
