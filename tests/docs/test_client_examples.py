"""The Python examples of the pages about clients run as they are written, one after the other.

A fenced ``python`` block is a program of its own; the ``output`` block after it, if there is one,
is what it prints.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nuska.testing.server_process import ServerProcess

PAGES = Path(__file__).resolve().parents[2] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:```output\n(.*?)^```)?", re.MULTILINE | re.DOTALL)
USUAL = "http://127.0.0.1:8888"
NONE = "(project="
"""How a program says where the server is, and how it leaves that to the default."""


@pytest.mark.parametrize(
    ("page", "least", "warnings"),
    [("client.md", 8, "error"), ("zaqar-clients.md", 2, "ignore")],
    ids=["ours", "zaqar"],
)
def test_the_examples_of_a_client_do_what_the_page_says(
    tmp_path: Path, page: str, least: int, warnings: str
) -> None:
    examples = BLOCK.findall((PAGES / page).read_text("utf-8"))
    assert len(examples) >= least
    with ServerProcess(tmp_path / "data") as server:
        for program, output in examples:
            here = program.replace(USUAL, server.url).replace(NONE, f"({server.url!r}, project=")
            done = subprocess.run(
                [sys.executable, "-W", warnings, "-c", here],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
                env={**os.environ, "PYTHONDEVMODE": "1"},
            )
            assert done.returncode == 0, program + done.stderr
            assert done.stdout == output, program + done.stdout + done.stderr
