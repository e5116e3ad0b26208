"""The documents keep up with the code: routes, settings and links."""

import re
import tomllib
from pathlib import Path

import pytest

from nuska.domain.limits import Limits
from nuska.transport.http.routes import Admits, routes_for

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def test_every_call_is_in_the_api_reference() -> None:
    reference = (ROOT / "docs" / "api.md").read_text()
    documented = set(re.findall(r"^## ([A-Z]+ /\S*)$", reference, re.MULTILINE))
    routed = {
        f"{operation.method} {route.path}"
        for route in routes_for(Limits(admin_mode=True, pooling=True))
        for operation in route.operations
        if route.admits is not Admits.PEOPLE
    }
    assert sorted(routed - documented) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    broken = []
    for target in LINK.findall(document.read_text("utf-8")):
        path, _, anchor = target.partition("#")
        there = (document.parent / path) if path else document
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(target)
    assert broken == []


def test_every_page_is_in_the_index() -> None:
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert sorted(pages - set(LINK.findall((ROOT / "docs" / "README.md").read_text()))) == []


def test_every_decision_is_in_the_index() -> None:
    pages = {path.name for path in (ROOT / "docs" / "adr").glob("0*.md")}
    assert sorted(pages - set(LINK.findall((ROOT / "docs/adr/README.md").read_text()))) == []


def test_every_piece_of_news_says_of_which_kind_it_is() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    kinds = {kind["directory"] for kind in project["tool"]["towncrier"]["type"]}
    news = [path.name for path in (ROOT / "changelog.d").glob("*.md") if path.name != "README.md"]
    assert [name for name in news if name.split(".")[1] not in kinds] == []


def anchors(document: Path) -> set[str]:
    """The anchors that the headings of a document get."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", document.read_text("utf-8"), re.MULTILINE):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        while name in found:
            stem, _, number = name.rpartition("-")
            name = f"{stem}-{int(number) + 1}" if number.isdigit() else f"{name}-1"
        found.add(name)
    return found
