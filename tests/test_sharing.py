"""The keys that sign pre-signed URLs: where they come from, and how one follows another."""

import stat
from pathlib import Path

import pytest
from msgspec.structs import replace

from nuska.domain.moments import Moment
from nuska.domain.signing import Signer
from nuska.settings import Settings
from nuska.sharing import KEY_FILE, CannotSign, sharing_rules

TERMS = {"paths": ("/v2/queues/q",), "methods": ("GET",), "project": "p", "expires_at": Moment(0)}


def signature(signer: Signer | None) -> str:
    assert signer is not None
    return signer.sign(**TERMS).signature


def test_an_embedded_store_gets_a_key_of_its_own_that_stays(tmp_path: Path) -> None:
    data = tmp_path / "data"
    first = sharing_rules(Settings(), data, embedded=True)
    again = sharing_rules(Settings(), data, embedded=True)
    other = sharing_rules(Settings(), tmp_path / "other", embedded=True)
    assert signature(first.signer) == signature(again.signer) != signature(other.signer)
    assert stat.S_IMODE((data / KEY_FILE).stat().st_mode) == 0o600


def test_a_store_in_memory_writes_nothing(tmp_path: Path) -> None:
    rules = sharing_rules(Settings(store="memory:"), tmp_path / "data", embedded=True)
    assert rules.signer is not None
    assert not (tmp_path / "data").exists()


def test_a_shared_store_has_the_key_that_it_is_given_or_none(tmp_path: Path) -> None:
    assert sharing_rules(Settings(), tmp_path, embedded=False).signer is None
    key = "nuska-demo-secret"
    file = tmp_path / "key"
    file.write_text(f"{key}\n")
    for settings in (Settings(signing_key=key), Settings(signing_key_file=str(file))):
        rules = sharing_rules(settings, tmp_path, embedded=False)
        assert signature(rules.signer) == signature(Signer(key))
    assert not (tmp_path / KEY_FILE).exists()


@pytest.mark.parametrize("content", [b"", b"short\n", b"x" * 5000, b"\xff" * 20, None])
def test_a_key_that_is_none_is_refused_and_not_repeated(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CannotSign, match="key") as refused:
        sharing_rules(Settings(signing_key_file=str(file)), tmp_path, embedded=False)
    assert "short" not in str(refused.value)
    with pytest.raises(CannotSign, match="16 to 4096"):
        sharing_rules(Settings(signing_key="short"), tmp_path, embedded=False)


OLD, NEW = "the-key-before-this", "the-key-that-is-new"


def is_good(signer: Signer | None, by: str) -> bool:
    assert signer is not None
    return signer.genuine_until(Signer(by).sign(**TERMS)) is not None


@pytest.mark.parametrize(
    ("written", "settings"),
    [
        ("", Settings(signing_key=NEW, former_signing_keys=(OLD,))),
        (f"{NEW}\n{OLD}\n", Settings()),
    ],
)
def test_a_new_key_signs_and_the_one_before_is_still_good(
    tmp_path: Path, written: str, settings: Settings
) -> None:
    if written:
        (tmp_path / "keys").write_text(written)
        settings = replace(settings, signing_key_file=str(tmp_path / "keys"))
    signer = sharing_rules(settings, tmp_path, embedded=False).signer
    assert signature(signer) == signature(Signer(NEW))
    assert is_good(signer, NEW)
    assert is_good(signer, OLD)
    assert not is_good(signer, "a-key-that-nobody-has")


def test_the_key_of_an_embedded_store_is_followed_by_one_that_is_written_above_it(
    tmp_path: Path,
) -> None:
    sharing_rules(Settings(), tmp_path, embedded=True)
    file = tmp_path / KEY_FILE
    old = file.read_text().strip()
    file.write_text(f"{NEW}\n{old}\n")
    signer = sharing_rules(Settings(), tmp_path, embedded=True).signer
    assert signature(signer) == signature(Signer(NEW))
    assert is_good(signer, old)


def test_former_keys_alone_sign_nothing(tmp_path: Path) -> None:
    with pytest.raises(CannotSign, match="former_signing_keys"):
        sharing_rules(Settings(former_signing_keys=(OLD,)), tmp_path, embedded=False)
