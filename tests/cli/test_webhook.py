"""``nuska webhook``: secrets and signatures, as a receiver uses them."""

import io
import sys
from pathlib import Path

import pytest

from nuska.cli import run
from nuska.cli.exits import Exit
from nuska.domain.webhooks import parse_secret, signature

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = 1_800_000_000
BODY = b'{"ttl": 900}'


def verify(*more: str, at: int = NOW) -> list[str]:
    signed = signature([parse_secret(SECRET)], "msg_1", NOW, BODY)
    named = ["--id", "msg_1", "--timestamp", str(NOW), "--signature", signed, "--at", str(at)]
    return ["webhook", "verify", *named, *more]


def test_a_new_secret_is_one_that_can_be_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["webhook", "secret"]) == Exit.DONE
    assert len(parse_secret(capsys.readouterr().out.strip())) == 32


def test_a_genuine_notification_is_told_from_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    body = tmp_path / "body.json"
    body.write_bytes(BODY)
    assert run(verify(str(body))) == Exit.DONE
    assert "genuine" in capsys.readouterr().out
    body.write_bytes(BODY + b" ")
    assert run(verify(str(body))) == Exit.REFUSED
    assert "No signature fits" in capsys.readouterr().err


def test_the_body_comes_from_standard_input_and_the_secret_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WEBHOOK_SECRET", raising=False)
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(BODY)))
    assert run(verify("--secret-file", str(file))) == Exit.DONE


def test_an_old_notification_is_not_taken_for_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    body = tmp_path / "body.json"
    body.write_bytes(BODY)
    assert run(verify(str(body), at=NOW + 301)) == Exit.REFUSED
    assert "old" in capsys.readouterr().err


@pytest.mark.parametrize("secret", ["", "whsec_short"])
def test_a_secret_that_is_none_is_said_without_being_repeated(
    secret: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", secret)
    assert run(verify()) == Exit.USAGE
    assert "short" not in capsys.readouterr().err
