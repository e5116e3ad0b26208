"""The JavaScript module in Node, with Node's own test runner, against the real server."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from nuska.testing.server_process import ServerProcess

MODULE = Path(__file__).resolve().parents[2] / "clients" / "javascript"
TESTS = sorted((MODULE / "tests").glob("*.test.js"))
COMPILER = ["tsc", "--noEmit", "--strict", "--target", "es2022", "--module", "es2022"]
LIBRARIES = ["--lib", "es2022,dom"]
LIMIT = 120.0
"""Seconds for one file of tests."""


@pytest.mark.slow
@pytest.mark.parametrize("file", TESTS, ids=lambda path: path.name)
def test_the_module_does_in_node_what_its_tests_say(file: Path, server: ServerProcess) -> None:
    done = subprocess.run(
        ["node", "--test", "--test-reporter=tap", str(file)],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
        # Node 20 has a WebSocket behind this flag; later ones take no notice of it.
        env={
            **os.environ,
            "NUSKA_URL": server.url,
            "NODE_OPTIONS": "--experimental-websocket --no-warnings",
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^# skipped 0$", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.slow
def test_a_program_in_typescript_has_types_for_all_of_it() -> None:
    done = subprocess.run(
        [*COMPILER, *LIBRARIES, str(MODULE / "tests" / "types.ts")],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_module_has_the_classes_that_its_types_promise() -> None:
    typed = set(re.findall(r"^export class (\w+)", (MODULE / "nuska.d.ts").read_text(), re.M))
    source = (MODULE / "nuska.js").read_text()
    exported = set(re.findall(r"^export class (\w+)", source, re.M))
    exported |= set(re.findall(r"^export \{ (\w+) \}", source, re.M))
    assert typed == exported
