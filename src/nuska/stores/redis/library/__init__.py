"""The Function library: everything that happens to a queue, as Lua that Redis runs at once.

One file per noun, concatenated in this order; ``state.lua`` holds the version. Two adjacent
versions may run on one store during an upgrade, so what a function is given and what it
answers only ever grows.
"""

import re
from functools import cache
from pathlib import Path

NAME = "nuska"
PARTS = (
    "state",
    "content",
    "announcements",
    "queues",
    "messages",
    "claims",
    "sweeping",
    "transfers",
    "records",
    "hints",
)


@cache
def source() -> str:
    """The library as ``FUNCTION LOAD`` takes it."""
    here = Path(__file__).parent
    parts = [(here / f"{part}.lua").read_text(encoding="utf-8") for part in PARTS]
    return f"#!lua name={NAME}\n" + "\n".join(parts)


@cache
def version() -> int:
    """What ``nuska_version`` answers when this library is loaded."""
    found = re.search(r"^local VERSION = (\d+)$", source(), re.MULTILINE)
    assert found is not None, "state.lua says which version it is"
    return int(found[1])
