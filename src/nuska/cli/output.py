"""What commands print: tables for people, tab-separated lines for pipes, JSON for machines.

JSON is one document for one thing, and one line for each of many, written as they come.
Nothing that a message contains can move the cursor or change a colour.
"""

import json
import sys
from collections.abc import AsyncIterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import Struct, to_builtins
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

_CONTROLS = {code: f"\\u{code:04x}" for code in [*range(0x20), *range(0x7F, 0xA0)]}
_CONTROLS |= {code: f"\\u{code:04x}" for code in [0x2028, 0x2029, *range(0x202A, 0x202F)]}
"""C0 and C1 controls, line separators, and what reverses the direction of writing."""

ROWS_PER_TABLE = 500
"""A longer listing becomes several tables, so that it shows while it comes."""

Cells = Sequence[object]

WHOLE = frozenset({"ID", "MESSAGE", "AT", "SINCE", "NEXT", "NAME", "QUEUE", "KEY"})
"""Columns that are never cut or folded: what stands there is for copying."""
CUT = frozenset({"BODY", "ATTRIBUTES", "METADATA"})
"""Columns of things of any length, which get a line and no more; all others are folded."""
NARROWEST = 12
"""Characters that any other column is given, or what it needs, if that is less. Where there is
no room for that, things are shown below each other."""
GAP = 2
"""Between columns."""
MAX_FILE = 1_048_576
"""Bytes of a file that ``@FILE`` names."""


def printable(text: str) -> str:
    """``text`` on one line, with everything that a terminal would obey spelled out."""
    return text.translate(_CONTROLS)


def compact(value: object) -> str:
    """``value`` as one line of JSON."""
    return printable(json.dumps(value, ensure_ascii=False))


def counted(count: int, noun: str) -> str:
    """``1 message``, ``2 messages``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def document(record: Struct) -> dict[str, Any]:
    """A record as JSON shows it: every field that has something to say."""
    return {name: value for name, value in to_builtins(record).items() if value not in (None, "")}


@dataclass(frozen=True)
class Output:
    as_json: bool

    def note(self, sentence: str) -> None:
        """Something for people only; it goes where it disturbs no pipe."""
        if not self.as_json:
            sys.stderr.write(f"{printable(sentence)}\n")

    def done(self, record: Mapping[str, object], sentence: str) -> None:
        """What has become of it: for programs, or for people."""
        if self.as_json:
            self.json(record)
        else:
            self.note(sentence)

    def json(self, value: object) -> None:
        """One line of JSON."""
        sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
        sys.stdout.flush()

    def line(self, text: str) -> None:
        """One line of plain text."""
        sys.stdout.write(f"{printable(text)}\n")
        sys.stdout.flush()

    def pairs(self, record: Mapping[str, object]) -> None:
        """One thing: a document, or its keys and values below each other."""
        if self.as_json:
            self.json(record)
        else:
            self._table(("KEY", "VALUE"), [(key, compact(value)) for key, value in record.items()])

    async def rows(
        self,
        columns: Sequence[str],
        records: AsyncIterable[tuple[Mapping[str, Any], Cells]],
        *,
        at_once: bool = False,
    ) -> int:
        """Many things: each as a JSON document and as the cells of a row. Returns how many.

        ``at_once`` shows each when it comes rather than a table when all have come.
        """
        count = 0
        waiting: list[Cells] = []
        async for as_document, cells in records:
            count += 1
            if self.as_json:
                self.json(as_document)
                continue
            waiting.append(cells)
            if at_once or len(waiting) >= ROWS_PER_TABLE:
                self._table(columns, waiting, goes_on=count > len(waiting))
                waiting = []
        if waiting:
            self._table(columns, waiting, goes_on=count > len(waiting))
        return count

    def _table(self, names: Sequence[str], rows: Sequence[Cells], *, goes_on: bool = False) -> None:
        """One table; ``goes_on``: without a heading, as it continues the one before."""
        columns = [] if goes_on else names
        texts = [[printable(str(cell)) for cell in row] for row in rows]
        if not sys.stdout.isatty():
            for line in [list(columns), *texts] if columns else texts:
                sys.stdout.write("\t".join(line) + "\n")
            sys.stdout.flush()
            return
        console = Console()
        widths = [max(map(cell_len, cells)) for cells in zip(names, *texts, strict=True)]
        whole = [name in WHOLE for name in names]
        least = [w if kept else min(w, NARROWEST) for w, kept in zip(widths, whole, strict=True)]
        if sum(least) + GAP * (len(least) - 1) > console.width:
            _print_below_each_other(console, names, texts, goes_on=goes_on)
            return
        cut = [name in CUT for name in names]
        room = console.width - GAP * (len(least) - 1)
        room -= sum(w for w, is_cut in zip(widths, cut, strict=True) if not is_cut)
        most = max(NARROWEST, room // max(1, sum(cut)))
        table = Table(box=None, pad_edge=False, show_header=bool(columns), header_style="bold")
        for name, kept, is_cut, width in zip(names, whole, cut, least, strict=True):
            table.add_column(
                name,
                no_wrap=kept or is_cut,
                overflow="ellipsis" if is_cut else "fold",
                min_width=width,
                max_width=most if is_cut else None,
            )
        for line in texts:
            table.add_row(*(Text(text) for text in line))
        console.print(table)


def _print_below_each_other(
    console: Console, names: Sequence[str], rows: Sequence[Sequence[str]], *, goes_on: bool
) -> None:
    """Each thing as lines of its own, which the terminal may break but never cuts."""
    width = max(map(cell_len, names))
    for number, row in enumerate(rows):
        if number or goes_on:
            console.print()
        for name, text in zip(names, row, strict=True):
            line = Text.assemble((f"{name:{width}}", "bold"), "  ", text)
            console.print(line, soft_wrap=True)


def parsed(text: str) -> Any:
    """What somebody wrote on a command line: JSON if it is some, else the text itself."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except ValueError:
        return text


def _no_number(name: str) -> Any:
    raise ValueError(name)


def assignments(texts: Sequence[str], *, files: bool = False) -> dict[str, Any]:
    """``KEY=VALUE`` pairs, the values as in ``parsed``. With ``files``, a value ``@FILE`` is what
    the file says, and ``@FILE`` alone a JSON object of pairs. Raises ``ValueError`` for anything
    else."""
    pairs: dict[str, Any] = {}
    for text in texts:
        if files and text.startswith("@"):
            more = parsed(_read(text[1:]))
            if not isinstance(more, dict):
                raise ValueError(f"{text[1:]} is not a JSON object")
            pairs |= more
            continue
        key, found, value = text.partition("=")
        if not found or not key:
            raise ValueError(f"{text!r} is not KEY=VALUE")
        pairs[key] = parsed(_read(value[1:]) if files and value.startswith("@") else value)
    return pairs


def _read(file: str) -> str:
    try:
        with Path(file).open(encoding="utf-8") as opened:
            text = opened.read(MAX_FILE + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ValueError(f"{file} cannot be read: {reason}") from None
    if len(text) > MAX_FILE:
        raise ValueError(f"{file} is too large")
    return text
