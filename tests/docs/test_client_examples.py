"""The Python examples of the client's page run as they are written, one after the other.

A fenced ``python`` block is a program of its own; the ``output`` block after it, if there is one,
is what it prints.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from nuska.testing.server_process import ServerProcess

PAGE = Path(__file__).resolve().parents[2] / "docs" / "client.md"
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:```output\n(.*?)^```)?", re.MULTILINE | re.DOTALL)
USUAL = "http://127.0.0.1:8888"
NONE = "(project="
"""How a program says where the server is, and how it leaves that to the default."""


def test_the_examples_of_the_client_do_what_the_page_says(tmp_path: Path) -> None:
    examples = BLOCK.findall(PAGE.read_text("utf-8"))
    assert len(examples) >= 8
    with ServerProcess(tmp_path / "data") as server:
        for program, output in examples:
            here = program.replace(USUAL, server.url).replace(NONE, f"({server.url!r}, project=")
            done = subprocess.run(
                [sys.executable, "-W", "error", "-c", here],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
                env={**os.environ, "PYTHONDEVMODE": "1"},
            )
            assert done.returncode == 0, program + done.stderr
            assert done.stdout == output, program + done.stdout + done.stderr
