"""What the settings mean for subscriptions."""

import stat
from pathlib import Path

import pytest

from nuska.domain.errors import InvalidInput
from nuska.domain.signing import Signer
from nuska.settings import Settings
from nuska.subscribing import KEY_FILE, CannotSign, confirmation_rules, subscriber_rules

TERMS = {"paths": ("/v2/queues/q",), "methods": ("GET",), "project": "p", "expires_at": 0}


def signature(signer: Signer | None) -> str:
    assert signer is not None
    return signer.sign(**TERMS).signature


def test_an_embedded_store_gets_a_key_of_its_own_that_stays(tmp_path: Path) -> None:
    data = tmp_path / "data"
    first = confirmation_rules(Settings(), data, embedded=True)
    again = confirmation_rules(Settings(), data, embedded=True)
    other = confirmation_rules(Settings(), tmp_path / "other", embedded=True)
    assert signature(first.signer) == signature(again.signer) != signature(other.signer)
    assert stat.S_IMODE((data / KEY_FILE).stat().st_mode) == 0o600


def test_a_store_in_memory_writes_nothing(tmp_path: Path) -> None:
    rules = confirmation_rules(Settings(store="memory:"), tmp_path / "data", embedded=True)
    assert rules.signer is not None
    assert not (tmp_path / "data").exists()


def test_a_shared_store_has_the_key_that_it_is_given_or_none(tmp_path: Path) -> None:
    assert confirmation_rules(Settings(), tmp_path, embedded=False).signer is None
    key = "nuska-demo-secret"
    file = tmp_path / "key"
    file.write_text(f"{key}\n")
    for settings in (Settings(signing_key=key), Settings(signing_key_file=str(file))):
        rules = confirmation_rules(settings, tmp_path, embedded=False)
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
        confirmation_rules(Settings(signing_key_file=str(file)), tmp_path, embedded=False)
    assert "short" not in str(refused.value)
    with pytest.raises(CannotSign, match="16 to 4096"):
        confirmation_rules(Settings(signing_key="short"), tmp_path, embedded=False)


LOCAL, PRIVATE = "http://127.0.0.1:9000/in", "https://10.1.2.3/in"


@pytest.mark.parametrize(
    ("settings", "allowed"),
    [
        (Settings(), [LOCAL]),
        (Settings(listen="unix:/run/nuska.sock"), [LOCAL]),
        (Settings(insecure_open=True), []),
        (Settings(listen="0.0.0.0:80", insecure_open=True), []),
        (Settings(allowed_networks=("10.1.0.0/16",)), [LOCAL, PRIVATE]),
        (Settings(allowed_networks=("127.0.0.1",), insecure_open=True), [LOCAL]),
    ],
)
def test_this_machine_is_called_only_while_nobody_else_can_reach_the_server(
    settings: Settings, allowed: list[str]
) -> None:
    check = subscriber_rules(settings).check_url
    check("https://hooks.example.net/in")
    for url in (LOCAL, PRIVATE):
        if url in allowed:
            check(url)
        else:
            with pytest.raises(InvalidInput):
                check(url)
