"""The source tree is the map in ARCHITECTURE.md, and every part of it has its place."""

import re
import tomllib
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = {
    path.name.removesuffix(".py")
    for path in (ROOT / "src" / "nuska").iterdir()
    if not path.name.startswith(("_", ".")) and (path.is_dir() or path.suffix == ".py")
}


def test_every_part_of_the_source_is_on_the_map() -> None:
    on_the_map = re.findall(r"^\| `([a-z]+)[/.`]", (ROOT / "ARCHITECTURE.md").read_text(), re.M)
    assert sorted(PARTS - set(on_the_map)) == []


def test_no_file_is_named_for_not_knowing_what_it_is() -> None:
    nameless = {"utils.py", "helpers.py", "common.py", "misc.py"}
    assert [path for path in (ROOT / "src").rglob("*.py") if path.name in nameless] == []


def test_every_direct_dependency_is_pinned_and_justified() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *chain.from_iterable(project["project"]["optional-dependencies"].values()),
        *chain.from_iterable(project["dependency-groups"].values()),
    ]
    names = {re.match(r"[\w-]+", requirement)[0] for requirement in asked}
    pins = (ROOT / "constraints.txt").read_text()
    pinned = set(re.findall(r"^([\w.-]+)==", pins, re.M))
    reasons = (ROOT / "docs" / "dependencies.md").read_text()
    justified = set(re.findall(r"^\| ([\w-]+) \|", reasons, re.M))
    assert names <= pinned
    assert names == justified - {"Package"}


def test_pins_name_versions_and_never_places() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [line for line in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
