"""``nuska webhook``: what the receiver of signed notifications needs, without a server.

A secret is read from the environment or a file, never from an argument, which others on the
machine can see.
"""

import os
import secrets
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from nuska.addresses import TcpAddress, parse_address
from nuska.cli.exits import CommandFailed, Exit
from nuska.cli.options import PLAIN
from nuska.cli.output import Output, compact
from nuska.cli.receiving import Arrival, Receiver
from nuska.domain.errors import InvalidInput
from nuska.domain.moments import Moment
from nuska.domain.webhooks import (
    ID_HEADER,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    parse_secret,
    refusal,
    written_secret,
)
from nuska.system import SystemClock

SECRET_VARIABLE = "WEBHOOK_SECRET"  # noqa: S105  # the name of a variable
NEW_SECRET = 32
"""Bytes."""
MAX_INPUT = 16 * 1024 * 1024
"""Bytes of a body; no notification is as large."""
FIRST_STATUS, LAST_STATUS = 200, 599

app = App(name="webhook", help="What receivers of webhooks need.", default_parameter=PLAIN)


@app.command
def secret() -> int:
    """Make a signing secret, for options.signing_secrets and for the receiver."""
    sys.stdout.write(f"{written_secret(secrets.token_bytes(NEW_SECRET))}\n")
    return Exit.DONE


@app.command(usage="Usage: nuska webhook verify --id ID --timestamp T --signature S [BODY]")
def verify(
    body: Annotated[
        Path | None, Parameter(help="A file with the request's body; else standard input.")
    ] = None,
    /,
    *,
    id: Annotated[str, Parameter(help="The header webhook-id.")],  # noqa: A002
    timestamp: Annotated[str, Parameter(help="The header webhook-timestamp.")],
    signature: Annotated[str, Parameter(help="The header webhook-signature.")],
    secret_file: Annotated[
        Path | None, Parameter(help=f"A file with the secret; else ${SECRET_VARIABLE}.")
    ] = None,
    at: Annotated[
        int | None, Parameter(help="When it arrived, in seconds since 1970; else now.")
    ] = None,
) -> int:
    """Say whether a notification is genuine: signed with the secret, unchanged, and recent.

    Ends with 0 when it is, with 1 and the reason when it is not.
    """
    key = _secret(secret_file)
    text = _body(body)
    now = SystemClock().now() if at is None else Moment(at * 1000)
    headers = {ID_HEADER: id, TIMESTAMP_HEADER: timestamp, SIGNATURE_HEADER: signature}
    reason = refusal([key], headers, text, now=now)
    if reason is not None:
        raise CommandFailed(Exit.REFUSED, reason)
    sys.stdout.write("It is genuine.\n")
    return Exit.DONE


@app.command
def receive(
    *,
    listen: Annotated[
        str, Parameter(help="Where to listen, HOST:PORT; port 0: any that is free.")
    ] = "127.0.0.1:9000",
    count: Annotated[int | None, Parameter(help="End after so many requests.")] = None,
    status: Annotated[int, Parameter(help="Answer with this status.")] = 200,
    secret_file: Annotated[
        Path | None,
        Parameter(help=f"Check signatures by the secret in this file; else ${SECRET_VARIABLE}."),
    ] = None,
    as_json: Annotated[bool, Parameter(name="--json", help="Show headers, too, in JSON.")] = False,
) -> int:
    """Receive webhooks, and show each as a line, to see what subscribers are sent.

    With a secret it says of each whether it is genuine.
    """
    if not FIRST_STATUS <= status <= LAST_STATUS:
        raise CommandFailed(Exit.USAGE, f"--status is from {FIRST_STATUS} to {LAST_STATUS}.")
    if count is not None and count < 1:
        raise CommandFailed(Exit.USAGE, "--count must be at least 1.")
    given = secret_file is not None or os.environ.get(SECRET_VARIABLE)
    key = _secret(secret_file) if given else None
    output = Output(as_json=as_json)

    def show(arrival: Arrival) -> None:
        reason = _reason(key, arrival)
        if as_json:
            judged = {} if key is None else {"genuine": reason is None}
            shown = {"path": arrival.path, "headers": arrival.headers, "body": arrival.document}
            output.json({**shown, **judged})
        else:
            output.line(f"{arrival.path} {compact(arrival.document)}")
            if key is not None:
                output.note("It is genuine." if reason is None else f"Not genuine: {reason}")

    try:
        address = parse_address(listen)
        if not isinstance(address, TcpAddress):
            raise CommandFailed(Exit.USAGE, "--listen: give HOST:PORT.")
        receiver = Receiver(address, status, show)
    except ValueError as error:
        raise CommandFailed(Exit.USAGE, f"--listen: {error}.") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise CommandFailed(Exit.REFUSED, f"Cannot listen on {listen}: {reason}.") from error
    output.note(f"Listening on {receiver.address.url}")
    receiver.run(count)
    return Exit.DONE


def _reason(key: bytes | None, arrival: Arrival) -> str | None:
    """Why it is not to be believed."""
    if key is None:
        return None
    return refusal([key], arrival.headers, arrival.body, now=SystemClock().now())


def _secret(file: Path | None) -> bytes:
    written = os.environ.get(SECRET_VARIABLE, "")
    if file is not None:
        try:
            written = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CommandFailed(Exit.USAGE, f"{file} cannot be read.") from error
    elif not written:
        raise CommandFailed(Exit.USAGE, f"Name the secret by --secret-file or ${SECRET_VARIABLE}.")
    try:
        return parse_secret(written.strip())
    except InvalidInput as error:
        raise CommandFailed(Exit.USAGE, error.description) from error


def _body(file: Path | None) -> bytes:
    try:
        if file is None:
            text = sys.stdin.buffer.read(MAX_INPUT + 1)
        else:
            with file.open("rb") as opened:
                text = opened.read(MAX_INPUT + 1)
    except OSError as error:
        raise CommandFailed(Exit.USAGE, f"{file or 'Standard input'} cannot be read.") from error
    if len(text) > MAX_INPUT:
        raise CommandFailed(Exit.USAGE, f"The body is too large: {MAX_INPUT} bytes is the limit.")
    return text
