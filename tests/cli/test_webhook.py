"""``nuska webhook``: secrets and signatures, as a receiver uses them."""

import io
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread

import pytest

from nuska.cli import run
from nuska.cli.exits import Exit
from nuska.domain.webhooks import (
    ID_HEADER,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    parse_secret,
    signature,
)
from nuska.testing.ports import free_port

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


def test_what_arrives_is_shown_and_judged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    port = free_port()
    moment = int(time.time())
    signed = signature([parse_secret(SECRET)], "msg_1", moment, BODY)
    genuine = {ID_HEADER: "msg_1", TIMESTAMP_HEADER: str(moment), SIGNATURE_HEADER: signed}
    statuses: list[int] = []

    def send() -> None:
        for body, headers in ((BODY, genuine), (b"not \x1bJSON", {})):
            while True:
                connection = HTTPConnection("127.0.0.1", port, timeout=20)
                try:
                    connection.request("POST", "/in?a=b", body, headers)
                except ConnectionRefusedError:  # it is just beginning
                    time.sleep(0.02)
                    continue
                statuses.append(connection.getresponse().status)
                connection.close()
                break

    sending = Thread(target=send)
    sending.start()
    command = ["webhook", "receive", "--listen", f"127.0.0.1:{port}", "--count", "2"]
    assert run([*command, "--status", "503"]) == Exit.DONE
    sending.join()
    assert statuses == [503, 503]
    shown = capsys.readouterr()
    assert shown.out == '/in?a=b {"ttl": 900}\n/in?a=b "not \\u001bJSON"\n'
    first, second, third = shown.err.splitlines()
    assert first == f"Listening on http://127.0.0.1:{port}"
    assert second == "It is genuine."
    assert third.startswith("Not genuine: It is not signed")


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["--listen", "nowhere"], Exit.USAGE, "is not HOST:PORT"),
        (["--listen", "unix:/tmp/x"], Exit.USAGE, "give HOST:PORT"),
        (["--listen", "192.0.2.1:9"], Exit.REFUSED, "Cannot listen on 192.0.2.1:9"),
        (["--status", "100"], Exit.USAGE, "--status is from 200 to 599"),
        (["--count", "0"], Exit.USAGE, "--count must be at least 1"),
    ],
)
def test_a_receiver_that_cannot_be_says_why(
    arguments: list[str], code: Exit, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["webhook", "receive", *arguments]) == code
    assert complaint in capsys.readouterr().err
