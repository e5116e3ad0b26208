"""Who goes next."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from nuska.domain.messages import NewMessage, QueueRef
from nuska.domain.moments import Moment, seconds
from nuska.stores.sqlite.line import MAX_WRITES_PER_COMMIT, Line, Write
from nuska.stores.sqlite.store import SqliteStore
from nuska.testing.clock import ManualClock

LETTER = NewMessage(body=b"1", ttl=seconds(300))


def write(*, long: bool = False, relaxed: bool = False) -> Write:
    return Write(lambda _: None, Moment(0), relaxed, long, None)  # type: ignore[arg-type]


def test_a_group_has_one_long_write_and_the_short_ones_go_first() -> None:
    line, bulk = Line(), [write(long=True) for _ in range(3)]
    for one in bulk:
        line.add(one)
    line.add(small := write())
    assert line.take() == [small, bulk[0]]
    assert line.take() == [bulk[1]]


def test_a_long_write_that_did_not_fit_leads_the_next_group() -> None:
    line = Line()
    line.add(bulk := write(long=True, relaxed=True))
    for _ in range(3):
        line.add(write())
    assert bulk not in line.take()
    line.add(write())
    assert line.take() == [bulk]


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40))
def test_everybody_in_line_has_a_turn_and_no_group_mixes_relaxed_with_synced(
    kinds: list[tuple[bool, bool]],
) -> None:
    line, taken = Line(), []
    writes = [write(long=long, relaxed=relaxed) for long, relaxed in kinds]
    for one in writes:
        line.add(one)
    while line:
        group = line.take()
        assert 0 < len(group) <= MAX_WRITES_PER_COMMIT + 1
        assert len({one.relaxed for one in group}) == 1
        taken += group
    assert sorted(map(id, taken)) == sorted(map(id, writes))
    for long in (True, False):
        alike = [one for one in taken if one.long is long]
        assert alike == [one for one in writes if one.long is long]


async def test_a_small_post_does_not_wait_for_all_the_large_ones_before_it(
    sqlite: SqliteStore, clock: ManualClock
) -> None:
    bulk, other = QueueRef("bulk", "q"), QueueRef("other", "q")
    loads = [
        asyncio.ensure_future(sqlite.messages.add(bulk, [LETTER] * 2000, now=clock.now()))
        for _ in range(5)
    ]
    await asyncio.sleep(0)
    await sqlite.messages.add(other, [LETTER], now=clock.now())
    assert sum(load.done() for load in loads) <= 2
    await asyncio.gather(*loads)
