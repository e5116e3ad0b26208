"""What every command that talks to a server takes, and how its errors end the command."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from cyclopts import Group, Parameter

from nuska.cli.exits import CommandFailed, Exit
from nuska.cli.output import Output, printable
from nuska.client import (
    DEFAULT_TIMEOUT,
    DEFAULT_URL,
    CannotConnect,
    Client,
    ClientError,
    ConnectionBroken,
    DeadlinePassed,
    ErrorAnswer,
    NotAuthenticated,
    NotFound,
)


def _shown(value: object) -> str | None:
    """A default that is worth a word."""
    if value in (None, False, (), ""):
        return None
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


PLAIN = Parameter(
    negative="",  # no --no-FLAG: what is off by default need not be turned off
    show_default=_shown,
)
"""How the options of these commands look unless they say otherwise."""

DEFAULT_PROJECT = "default"
TOKEN_VARIABLE = "NUSKA_TOKEN"  # noqa: S105  # the name of a variable
"""A token or an API key. There is no option for it: others on the machine could read it there."""
SERVER = Group("Server", sort_key=9)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """Which server, which project, and for whom the answer is."""

    url: Annotated[
        str,
        Parameter(
            env_var="NUSKA_URL",
            group=SERVER,
            help="Where the server is: http://HOST:PORT or unix:/PATH.",
        ),
    ] = DEFAULT_URL
    project: Annotated[
        str, Parameter(env_var="NUSKA_PROJECT", group=SERVER, help="Whose queues.")
    ] = DEFAULT_PROJECT
    client_id: Annotated[
        str | None,
        Parameter(
            env_var="NUSKA_CLIENT_ID",
            group=SERVER,
            help="The UUID by which the server knows this client; a new one each time.",
        ),
    ] = None
    timeout: Annotated[
        float,
        Parameter(
            env_var="NUSKA_TIMEOUT", group=SERVER, help="Seconds for one call with its retries."
        ),
    ] = DEFAULT_TIMEOUT
    as_json: Annotated[bool, Parameter(name="--json", help="Answer in JSON, for machines.")] = False

    @property
    def output(self) -> Output:
        return Output(as_json=self.as_json)

    @asynccontextmanager
    async def client(
        self, *, connections: int = 8, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Client]:
        """A client for the length of a command; its errors become the command's end."""
        if self.timeout <= 0:
            raise CommandFailed(Exit.USAGE, "--timeout must be more than 0.")
        try:
            client = Client(
                self.url,
                project=self.project,
                client_id=self.client_id,
                timeout=self.timeout,
                connections=connections,
                headers=headers,
                token=os.environ.get(TOKEN_VARIABLE) or None,
            )
        except ValueError as error:
            raise CommandFailed(Exit.USAGE, f"{error}.") from None
        try:
            async with client:
                yield client
        except ClientError as error:
            raise failure(error, for_operators=headers is not None) from error


DEFAULTS = Options()


def failure(error: ClientError, *, for_operators: bool = False) -> CommandFailed:
    """How a command ends after ``error``; ``for_operators``: only some servers know its calls."""
    if isinstance(error, CannotConnect | ConnectionBroken | DeadlinePassed):
        return CommandFailed(Exit.NO_CONNECTION, printable(str(error)))
    sentence = str(error)
    if isinstance(error, NotFound) and not error.description:
        hint = "Is --url a Nuska server?"
        if for_operators:
            hint = "Is --url a Nuska server, started with --admin-mode (and --pooling, for pools)?"
        sentence = f"{sentence}: what answers there does not know this call. {hint}"
    if (
        for_operators
        and isinstance(error, ErrorAnswer)
        and error.status == HTTPStatus.METHOD_NOT_ALLOWED
    ):
        sentence = f"{sentence}: this takes a server that was started with --admin-mode."
    if isinstance(error, NotAuthenticated):
        hint = f"Set {TOKEN_VARIABLE} to a token or an API key."
        if os.environ.get(TOKEN_VARIABLE):
            hint = f"What {TOKEN_VARIABLE} says is not accepted there."
            if not error.request_id:  # over a WebSocket, which compares the project, too
                hint = f"{hint[:-1]}, or not for the project that NUSKA_PROJECT or --project names."
        sentence = f"{sentence.rstrip('.')}. {hint}"
    if isinstance(error, ErrorAnswer) and error.status >= 500 and error.request_id:
        sentence = f"{sentence.rstrip('.')} (request {error.request_id})."
    return CommandFailed(Exit.REFUSED, printable(sentence))
