"""The clock, close to the wall's at the start and never backwards afterwards; and chance."""

import os
import random
import re
import time
from pathlib import Path

import pytest

import nuska
from nuska.domain.moments import Moment
from nuska.system import Chance, SystemClock


def test_it_starts_at_the_wall_time_in_milliseconds() -> None:
    before = time.time_ns() // 1_000_000
    now = SystemClock().now()
    assert before - 1 <= now <= time.time_ns() // 1_000_000 + 1


def test_it_does_not_notice_when_somebody_sets_the_wall_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = SystemClock()
    first = clock.now()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    second = clock.now()
    assert first <= second < first + 60_000


def test_it_counts_the_time_that_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    since_boot = 5_000_000_000
    monkeypatch.setattr(time, "clock_gettime_ns", lambda _: since_boot)
    clock = SystemClock()
    first = clock.now()
    since_boot += 1_500_000_000
    assert clock.now() - first == 1500


def test_it_goes_on_from_what_was_stored_when_the_wall_clock_is_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    since_boot = 5_000_000_000
    monkeypatch.setattr(time, "clock_gettime_ns", lambda _: since_boot)
    clock = SystemClock()
    stored = Moment(clock.now() + 3_600_000)
    assert clock.go_on_from(stored) == 3_600_000
    assert clock.now() == stored
    since_boot += 1_500_000_000
    assert clock.now() == stored + 1500
    assert clock.go_on_from(stored) == 0
    assert clock.now() == stored + 1500


def test_only_one_file_of_the_service_reads_the_wall_clock() -> None:
    source = Path(nuska.__file__).parent
    readers = {
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if path.relative_to(source).parts[0] not in ("client", "cli", "testing")
        and re.search(r"\btime\.time\(|\btime_ns\(|\bdatetime\.now\(", path.read_text())
    }
    assert readers == {"system.py"}


def test_no_byte_of_chance_is_handed_out_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks: list[bytes] = []

    def urandom(count: int) -> bytes:
        blocks.append(random.randbytes(count))
        return blocks[-1]

    monkeypatch.setattr(os, "urandom", urandom)
    chance = Chance()
    drawn = b"".join(chance(8) for _ in range(2 * Chance.BLOCK // 8))
    assert drawn == b"".join(blocks)
    assert len(blocks) == 2


def test_a_draw_larger_than_what_is_in_stock_is_whole() -> None:
    chance = Chance()
    chance(1)
    assert len(chance(Chance.BLOCK)) == Chance.BLOCK
    assert len(chance(Chance.BLOCK + 1)) == Chance.BLOCK + 1
