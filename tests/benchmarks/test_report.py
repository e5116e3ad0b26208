"""The table, the JSON and the picture say the same, and say what was missed."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest
from benchmarks.figures import Figure, at_least, at_most
from benchmarks.machine import Machine, describe
from benchmarks.report import Run, finished, print_table, write_results
from rich.console import Console

SVG = "{http://www.w3.org/2000/svg}"
FIGURES = [
    Figure(phase="a", name="posts <beside> bare", value=0.7, unit="×", target=at_least(0.35)),
    Figure(phase="a", name="rate", value=12_000, unit="/s", note="information only"),
    Figure(phase="b", name="longest wait", value=100.0, unit="ms", target=at_most(50)),
]


@pytest.fixture
def run() -> Run:
    machine = Machine(
        cpu="a processor",
        cores=2,
        memory_gb=8,
        kernel="6",
        python="3.11",
        filesystem="ext4",
        sync_p50_ms=0.25,
        sync_p99_ms=0.4,
        load=0.1,
    )
    return finished(
        title="figures",
        began=datetime.now(UTC),
        quick=True,
        machine=machine,
        about=["How it was measured."],
        figures=FIGURES,
    )


def printed(run: Run) -> str:
    console = Console(file=io.StringIO(), width=160)
    print_table(run, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_marks_what_is_met_and_what_is_missed(run: Run) -> None:
    lines = {line.split("│")[2].strip(): line for line in printed(run).splitlines() if "│" in line}
    assert "✔" in lines["posts <beside> bare"]
    assert "✘" in lines["longest wait"]
    assert "·" in lines["rate"]


def test_the_table_ends_with_the_machine_and_the_count_of_targets(run: Run) -> None:
    text = printed(run)
    assert "fdatasync 0.25 ms" in text
    assert "How it was measured." in text
    assert "1 of 2 targets met" in text


def test_what_is_written_can_be_read_and_names_every_figure(run: Run, tmp_path: Path) -> None:
    data, _picture = write_results(run, tmp_path / "results", "bench")
    document = json.loads(data.read_text())
    assert [figure["name"] for figure in document["figures"]] == [f.name for f in FIGURES]
    assert document["machine"]["cores"] == 2


def test_the_picture_has_one_bar_for_each_target_on_its_side_of_the_line(
    run: Run, tmp_path: Path
) -> None:
    _data, picture = write_results(run, tmp_path, "bench")
    root = ElementTree.fromstring(picture.read_text())
    bars = {bar.get("class"): bar for bar in root.iter(f"{SVG}rect") if bar.get("class") != "paper"}
    target = next(line for line in root.iter(f"{SVG}line") if line.get("class") == "target")
    middle = float(target.attrib["x1"])
    assert set(bars) == {"met", "missed"}
    assert float(bars["met"].attrib["x"]) == middle
    missed = bars["missed"].attrib
    assert float(missed["x"]) + float(missed["width"]) == pytest.approx(middle)
    assert "posts <beside> bare" in {text.text for text in root.iter(f"{SVG}text")}


def test_nothing_drawn_leaves_the_picture(tmp_path: Path, run: Run) -> None:
    wild = [
        Figure(phase="x", name="far too slow", value=1e9, unit="ms", target=at_most(1)),
        Figure(phase="x", name="far better", value=1e9, unit="×", target=at_least(1)),
        Figure(phase="x", name="nothing at all", value=0, unit="×", target=at_least(1)),
    ]
    changed = Run(
        **{name: getattr(run, name) for name in run.__struct_fields__} | {"figures": wild}
    )
    _data, picture = write_results(changed, tmp_path, "bench")
    root = ElementTree.fromstring(picture.read_text())
    _x, _y, width, _height = map(float, root.attrib["viewBox"].split())
    for bar in root.iter(f"{SVG}rect"):
        left = float(bar.get("x", "0"))
        assert left >= 0
        assert left + float(bar.attrib["width"]) <= width


def test_this_machine_can_be_described(tmp_path: Path) -> None:
    machine = describe(tmp_path)
    assert machine.cores >= 1
    assert 0 < machine.sync_p50_ms <= machine.sync_p99_ms
