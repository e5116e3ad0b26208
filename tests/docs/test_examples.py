"""The examples of the documents run in a real shell, against a real server, as they are written.

A fenced ``console`` block holds commands after ``$``, their further lines after ``>``, and
below each what it prints; ``...`` there stands for anything, and an age for any age. A ``bash``
block is one command to paste as it stands, and an ``output`` block after it what it prints. The
blocks of one document are one session in one shell, against a server of its own.
"""

import os
import re
import secrets
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from nuska.testing.ports import free_port
from nuska.testing.server_process import ServerProcess

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(
    r"^```console\n(?P<console>.*?)^```$"
    r"|^```bash\n(?P<command>.*?)^```$(?:\n+```output\n(?P<prints>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
ADDRESS = "127.0.0.1:8888"
"""Where the documents say the server is."""
RECEIVER = "127.0.0.1:9000"
"""Where they have webhooks sent."""
SESSION_LIMIT = 150.0
"""Seconds for all examples of one document."""


@dataclass
class Example:
    command: str
    prints: str


def examples_in(document: Path) -> list[Example]:
    found: list[Example] = []
    for block in BLOCK.finditer(document.read_text("utf-8")):
        if block["command"]:
            found.append(Example(block["command"].rstrip("\n"), block["prints"] or ""))
        for line in (block["console"] or "").splitlines():
            if line.startswith("$ "):
                found.append(Example(line[2:], ""))
            elif line.startswith("> ") and not found[-1].prints:
                found[-1].command += "\n" + line[2:]
            else:
                found[-1].prints += line + "\n"
    return found


DOCUMENTS = {
    str(path.relative_to(ROOT)): examples
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
    if (examples := examples_in(path))
}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_examples_of_a_document_work(document: str, tmp_path: Path) -> None:
    examples = DOCUMENTS[document]
    with ServerProcess(tmp_path / "data") as server:
        there, hooks = urlsplit(server.url).netloc, f"127.0.0.1:{free_port()}"

        def here(text: str) -> str:
            return text.replace(ADDRESS, there).replace(RECEIVER, hooks)

        outputs = run([here(example.command) for example in examples], tmp_path)
    for example, (status, output) in zip(examples, outputs, strict=True):
        told = f"{document}: {example.command}\n{output}"
        assert status == 0, told
        assert matches(here(example.prints), output), told


def run(commands: list[str], directory: Path) -> list[tuple[int, str]]:
    """Run ``commands`` in one shell; exit status and output of each."""
    mark = secrets.token_hex(8)
    script = "".join(f"{command}\nprintf '\\n{mark} %d\\n' $?\n" for command in commands)
    commands_of_the_project = str(Path(sys.executable).parent)
    done = subprocess.run(
        ["bash", "--noprofile", "--norc"],
        input=script,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SESSION_LIMIT,
        check=False,
        cwd=directory,
        env={
            "PATH": f"{commands_of_the_project}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(directory),
            "LC_ALL": "C.UTF-8",
            # The commands are those of the tree that is tested, wherever they are installed from.
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        },
    )
    parts = re.split(rf"\n{mark} (\d+)\n", done.stdout)
    return [(int(status), output) for output, status in zip(parts[::2], parts[1::2], strict=False)]


def matches(expected: str, output: str) -> bool:
    pattern = re.escape(expected.strip()).replace(re.escape("..."), ".*?")
    pattern = re.sub(r'"age":\\ \d+', r'"age":\\ \\d+', pattern)
    return re.fullmatch(pattern, output.replace("\r", "").strip(), re.DOTALL) is not None


def test_the_first_steps_have_examples() -> None:
    assert {"README.md", "docs/getting-started.md", "docs/additions.md"} <= DOCUMENTS.keys()
