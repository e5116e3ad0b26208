"""Pre-signed requests that are almost good: each part of one, changed in ways that a parser or a
comparison might forgive (I20)."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from hypothesis import strategies as st

SIGNATURE, EXPIRES, METHODS, PATHS, PROJECT = PARTS = (
    "signature",
    "expires",
    "methods",
    "paths",
    "project",
)
Shown: TypeAlias = Mapping[str, Any]
"""What a client shows, as ``share`` has answered it: methods and paths are lists."""
Change: TypeAlias = tuple[Any, ...]

CHANGES: st.SearchStrategy[Change] = st.one_of(
    st.tuples(st.just("delete"), st.integers(0, 200)),
    st.tuples(st.just("double"), st.integers(0, 200)),
    st.tuples(st.just("case"), st.integers(0, 200)),
    st.tuples(st.just("insert"), st.integers(0, 200), st.sampled_from(list(" ,\\/.%0aAnN\t"))),
    st.tuples(st.just("replace"), st.text("0123456789abcdefGETPOSTv2/:-T,", max_size=80)),
    st.tuples(st.just("append"), st.sampled_from([",POST", ",", " ", "/", "\\n", "Z", "0", "%00"])),
)


def near(shown: Shown, part: str, change: Change) -> dict[str, Any] | None:
    """The same with one part changed; None when the change has made no difference: the order of
    methods and paths is free."""
    listed = isinstance(shown[part], list)
    text = _changed(",".join(shown[part]) if listed else str(shown[part]), change)
    found = {**shown, part: text.split(",") if listed else text}
    same = sorted(found[part]) == sorted(shown[part]) if listed else found[part] == shown[part]
    return None if same else found


def _changed(text: str, change: Change) -> str:
    at = change[1] % len(text) if isinstance(change[1], int) else 0
    match change:
        case ("delete", _):
            return text[:at] + text[at + 1 :]
        case ("double", _):
            return text[:at] + text[at] + text[at:]
        case ("case", _):
            return text[:at] + text[at].swapcase() + text[at + 1 :]
        case ("insert", _, letter):
            return text[:at] + str(letter) + text[at:]
        case ("replace", other):
            return str(other)
        case _:
            return f"{text}{change[1]}"
