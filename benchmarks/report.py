"""Shows figures: a table for people, JSON for machines, a picture for the documentation."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure, shown
from benchmarks.machine import Machine
from benchmarks.picture import draw


class Run(Struct, frozen=True, kw_only=True):
    """Everything one call of the harness found out."""

    title: str
    began: datetime
    seconds: float
    quick: bool
    machine: Machine
    about: list[str]
    """How it was measured, in sentences."""
    figures: list[Figure]

    @property
    def missed(self) -> list[Figure]:
        return [figure for figure in self.figures if figure.met is False]


def print_table(run: Run, console: Console) -> None:
    table = Table(title=run.title, title_justify="left", header_style="bold")
    table.add_column("")
    table.add_column("what", overflow="fold")
    table.add_column("figure", justify="right", no_wrap=True)
    table.add_column("target", justify="right", no_wrap=True)
    table.add_column("note", overflow="fold", style="dim")
    phase = None
    for figure in run.figures:
        if phase not in (None, figure.phase):
            table.add_section()
        phase = figure.phase
        table.add_row(
            _mark(figure),
            figure.name,
            shown(figure.value, figure.unit),
            _wanted(figure),
            figure.note,
        )
    console.print(table)
    console.print(run.machine.sentence(), style="dim")
    for sentence in run.about:
        console.print(sentence, style="dim")
    with_target = [figure for figure in run.figures if figure.target is not None]
    console.print(f"{len(with_target) - len(run.missed)} of {len(with_target)} targets met")


def write_results(run: Run, directory: Path, stem: str) -> list[Path]:
    """``STEM.json`` and ``STEM.svg`` in ``directory``; those of an earlier run are replaced."""
    directory.mkdir(parents=True, exist_ok=True)
    data, picture = directory / f"{stem}.json", directory / f"{stem}.svg"
    data.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=2) + b"\n")
    picture.write_text(draw(run.title, run.machine.sentence(), run.figures), "utf-8")
    return [data, picture]


def finished(
    *,
    title: str,
    began: datetime,
    quick: bool,
    machine: Machine,
    about: Sequence[str],
    figures: Sequence[Figure],
) -> Run:
    """A run that ends now."""
    return Run(
        title=title,
        began=began,
        seconds=round((datetime.now(UTC) - began).total_seconds(), 1),
        quick=quick,
        machine=machine,
        about=list(about),
        figures=list(figures),
    )


def _mark(figure: Figure) -> str:
    if figure.met is None:
        return "[dim]·[/]"
    return "[green]✔[/]" if figure.met else "[red]✘[/]"


def _wanted(figure: Figure) -> str:
    if figure.target is None:
        return ""
    return f"{figure.target.bound.value} {shown(figure.target.value, figure.unit)}"
