"""Tables on terminals of any width: what people copy, ids and times, is never cut."""

import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import pytest

from nuska.cli.output import ROWS_PER_TABLE, Cells, Output

COLUMNS = ("AT", "MESSAGE", "STATUS", "OUTCOME", "NEXT")
AT, ID = "2026-11-23T04:19:22Z", "6a21b27a8f24c6f1a9b3d5e7f0"
OUTCOME = "The subscriber did not answer within ten seconds. It is tried again."
ROW = (AT, ID, 503, OUTCOME, AT)
LONG = "x" * 5_000
Shown = Callable[..., "Any"]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shown:
    """The lines of a table of so many rows on a terminal of so many columns."""

    async def show(
        width: int, rows: int, columns: Sequence[str] = COLUMNS, row: Cells = ROW
    ) -> list[str]:
        async def records() -> AsyncIterator[tuple[Mapping[str, Any], Cells]]:
            for _ in range(rows):
                yield {}, row

        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        for name, value in (("TERM", "dumb"), ("COLUMNS", str(width)), ("LINES", "25")):
            monkeypatch.setenv(name, value)
        assert await Output(as_json=False).rows(columns, records()) == rows
        return capsys.readouterr().out.splitlines()

    return show


async def test_a_wide_terminal_shows_a_row_on_a_line(shown: Shown) -> None:
    heading, row = await shown(200, 1)
    assert heading.split() == list(COLUMNS)
    assert row.split("  ")[:2] == [AT, ID]
    assert OUTCOME in row


@pytest.mark.parametrize("width", [95, 100, 120, 140])
async def test_a_narrower_one_folds_what_is_not_for_copying(shown: Shown, width: int) -> None:
    heading, *lines = await shown(width, 1)
    assert all(len(line) <= width for line in lines)
    assert heading.split() == list(COLUMNS)
    assert len(lines) > 1
    assert (lines[0].count(AT), lines[0].count(ID)) == (2, 1)
    told = " ".join(" ".join(lines).replace(AT, "").replace(ID, "").split())
    assert told.replace("503 ", "") == OUTCOME


@pytest.mark.parametrize("width", [1, 20, 40, 80])
async def test_one_with_no_room_shows_things_below_each_other_and_cuts_nothing(
    shown: Shown, width: int
) -> None:
    lines = await shown(width, 2)
    whole = [f"AT       {AT}", f"MESSAGE  {ID}", "STATUS   503", f"OUTCOME  {OUTCOME}"]
    assert [line.rstrip() for line in lines[:4]] == whole
    assert lines[5] == ""
    assert lines[6:] == lines[:5]


async def test_a_long_table_goes_on_without_a_second_heading(shown: Shown) -> None:
    lines = await shown(200, ROWS_PER_TABLE + 1)
    assert len(lines) == ROWS_PER_TABLE + 2
    assert lines[-1] == lines[1]


@pytest.mark.parametrize("width", [60, 80, 200])
async def test_what_may_be_of_any_length_gets_what_is_left_of_the_line(
    shown: Shown, width: int
) -> None:
    columns = ("ID", "TTL", "BODY", "ATTRIBUTES")
    _, row = await shown(width, 1, columns, (ID, 900, LONG, "{}"))
    assert row.startswith(f"{ID}  900  xxxxxxxxxxx")
    assert row.count("…") == 1
    assert len(row) <= width
    assert row.split()[-1] == "{}"
