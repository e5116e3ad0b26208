"""What is secret is compared in the same time, however much of it is right (S7).

No clock is fine enough to show that in a test. So the source is read for comparisons of secrets by
``==`` or ``in``, and where secrets are checked every byte of them goes into the one comparison
that takes its time.
"""

import ast
import hmac
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from nuska.domain import keys
from nuska.domain.moments import Moment
from nuska.domain.signing import Signer

SOURCE = Path(__file__).resolve().parents[2] / "src" / "nuska"
APART = ("client", "cli", "testing")
"""Those who hold a secret of their own, and nobody else's."""
SECRET = re.compile(r"(^|_)(signature|secret|digest|mac|password|passphrase|token|api_key)s?$")
PATH, PROJECT = "/v2/queues/orders/messages", "acme"
FAR = Moment(1_930_367_167_000)


def compared(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of what looks secret and is compared with something that is no constant."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Compare):
            continue
        sides = [node.left, *node.comparators]
        if any(isinstance(side, ast.Constant) for side in sides):
            continue
        if all(isinstance(op, ast.Is | ast.IsNot) for op in node.ops):
            continue
        for side in sides:
            name = side.attr if isinstance(side, ast.Attribute) else getattr(side, "id", "")
            if SECRET.search(name):
                yield node.lineno, name


@pytest.mark.parametrize(
    "text", ["shown.signature == expected", "if one != its_secret: pass", "token in known"]
)
def test_a_comparison_that_tells_is_found(text: str) -> None:
    assert list(compared(ast.parse(text)))


def test_no_secret_is_compared_as_if_it_were_none() -> None:
    found = [
        f"{path.relative_to(SOURCE)}:{line}: {name}"
        for path in sorted(SOURCE.rglob("*.py"))
        if path.relative_to(SOURCE).parts[0] not in APART
        for line, name in compared(ast.parse(path.read_text()))
    ]
    assert found == []


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The lengths of what is compared."""
    lengths: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def counted(one: bytes, other: bytes) -> bool:
        lengths.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", counted)
    return lengths


def test_signatures_are_compared_whole_and_with_every_key(asked: list[tuple[int, int]]) -> None:
    signer = Signer("the-key", "a-former-key", "an-older-key")
    good = signer.sign(paths=(PATH,), methods=("GET",), project=PROJECT, expires_at=FAR)
    first = "0" if good.signature[0] != "0" else "1"
    last = "0" if good.signature[-1] != "0" else "1"
    for signature in (
        good.signature,
        first + good.signature[1:],
        good.signature[:-1] + last,
        "f" * 64,
    ):
        asked.clear()
        signer.genuine_until(replace(good, signature=signature))
        assert asked == [(64, 64)] * 3, signature


def test_keys_are_compared_whole_by_their_digests(asked: list[tuple[int, int]]) -> None:
    right, id_ = b"r" * keys.SECRET_BYTES, "0" * 16
    made = keys.Key(
        id=id_,
        digest=keys.digest(id_, right),
        project=PROJECT,
        name="",
        roles=frozenset(),
        created_at=Moment(0),
    )
    for secret in (right, b"x" + right[1:], right[:-1] + b"x", b""):
        asked.clear()
        assert keys.is_of(made, secret) == (secret == right)
        assert asked == [(len(made.digest),) * 2]
