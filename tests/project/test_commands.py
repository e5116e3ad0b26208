"""The list of commands is one list: what the documents name exists, and explains itself."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RULE = re.compile(r"^([a-z][a-z-]*):.*?(?:## (.+))?$", re.MULTILINE)
RULES = dict(RULE.findall((ROOT / "Makefile").read_text()))
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def test_every_command_explains_itself() -> None:
    assert [name for name, says in RULES.items() if not says] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_make_command_in_a_document_exists(document: Path) -> None:
    named = set(re.findall(r"(?:^|`)make ([a-z][a-z-]*)", document.read_text(), re.MULTILINE))
    assert named <= set(RULES)


def test_the_build_server_runs_what_a_developer_runs() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert re.findall(r"^make (\S+)$", script, re.MULTILINE) == ["check", "test"]


def test_a_run_that_leaves_out_a_promised_store_fails() -> None:
    asked = [sys.executable, "-m", "pytest", "--stores", "sqlite,nowhere", "-p", "no:cacheprovider"]
    one_test = f"{__file__}::{test_every_command_explains_itself.__name__}"
    done = subprocess.run([*asked, one_test], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "1 passed" in done.stdout
    assert "sqlite: DID NOT RUN" in done.stdout
    assert "nowhere: DID NOT RUN" in done.stdout
