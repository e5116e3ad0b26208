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


def run_one_test_on(stores: str) -> subprocess.CompletedProcess[str]:
    asked = [sys.executable, "-m", "pytest", "--stores", stores, "-p", "no:cacheprovider"]
    one_test = f"{__file__}::{test_every_command_explains_itself.__name__}"
    return subprocess.run([*asked, one_test], cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_run_that_leaves_out_a_setup_of_a_promised_store_fails() -> None:
    done = run_one_test_on("sqlite,redis")
    assert done.returncode == 1
    assert "1 passed" in done.stdout
    for setup in ("sqlite", "redis", "redis cluster", "redis sentinel", "valkey"):
        assert f"{setup}: DID NOT RUN" in done.stdout


def test_a_store_that_nobody_knows_cannot_be_promised() -> None:
    done = run_one_test_on("sqlite,nowhere")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "nowhere? Known are memory, sqlite, redis" in done.stderr


def test_make_promises_only_stores_that_the_table_knows() -> None:
    promised = re.findall(r"^STORES \?= (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    listed = subprocess.run(
        [sys.executable, ROOT / "tools" / "store-programs", *promised],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "redis-server" in listed.stdout.split()
