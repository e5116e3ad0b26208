"""Two ways for a mail to leave: over SMTP, or through a program such as sendmail.

Hands one mail over and says what came of it. Errors are told in words that repeat nothing a
server or program has said: they name addresses, and may name credentials.
"""

import asyncio
import contextlib
import email.policy
import ssl
from collections.abc import Mapping, Sequence
from email.message import EmailMessage
from typing import Literal, Protocol

import aiosmtplib
from msgspec import Struct

Security = Literal["tls", "starttls", "none"]

_UNFOLDED = email.policy.SMTP.clone(max_line_length=998)
"""A folded List-Unsubscribe would be written as encoded words, which nobody reads as a link."""
_FOR_PROGRAMS = email.policy.SMTPUTF8.clone(linesep="\n", max_line_length=998)
MAX_CONNECTIONS = 8
"""Mails under way at once from this process; the others wait within their own limit."""
_TEMPORARY = 75
"""EX_TEMPFAIL of sysexits.h, and its neighbours below."""
_WORTH_ANOTHER_TRY = frozenset({69, 71, 72, 73, 74, _TEMPORARY, 77})


class Handed(Struct, frozen=True, kw_only=True):
    """What became of a mail."""

    ok: bool
    status: int | None = None
    error: str | None = None
    permanent: bool = False


class MailTransport(Protocol):
    async def hand_over(self, mail: EmailMessage, recipients: Sequence[str], sender: str) -> Handed:
        """Raises nothing of its own; ends when it is cancelled."""
        ...


class SmtpTransport:
    def __init__(
        self,
        host: str,
        port: int | None,
        *,
        security: Security,
        user: str | None = None,
        password: str | None = None,
        context: ssl.SSLContext | None = None,
        timeout: float,
    ) -> None:
        """``port`` None: the usual one. ``timeout``: seconds for each step."""
        self._host = host
        self._port = port
        self._security = security
        self._user = user
        self._password = password
        self._context = context
        self._timeout = timeout
        self._free = asyncio.Semaphore(MAX_CONNECTIONS)

    async def hand_over(self, mail: EmailMessage, recipients: Sequence[str], sender: str) -> Handed:
        try:
            async with self._free:
                refused = await self._sent(mail, recipients, sender)
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            return _told(error)
        if refused:
            left = f"{len(refused)} of {len(recipients)} addresses were refused by the mail server."
            return Handed(ok=True, status=250, error=left)
        return Handed(ok=True, status=250)

    async def _sent(
        self, mail: EmailMessage, recipients: Sequence[str], sender: str
    ) -> Mapping[str, object]:
        """Send over a connection of its own; whom the server refused."""
        client = aiosmtplib.SMTP(
            hostname=self._host,
            port=self._port,
            username=self._user,
            password=self._password,
            local_hostname="localhost",
            timeout=self._timeout,
            use_tls=self._security == "tls",
            start_tls=self._security == "starttls",
            tls_context=self._context,
        )
        try:
            await client.connect()
            to = list(recipients)
            if all(address.isascii() for address in (sender, *to)):
                refused, _ = await client.sendmail(sender, to, mail.as_bytes(policy=_UNFOLDED))
            else:  # the library knows what such addresses need
                refused, _ = await client.send_message(mail, sender=sender, recipients=to)
            with contextlib.suppress(aiosmtplib.SMTPException, OSError):
                await client.quit()  # the mail has been taken, whatever comes of this
        finally:
            client.close()
        return refused


def _told(error: Exception) -> Handed:
    match error:
        case aiosmtplib.SMTPRecipientsRefused():
            codes = [each.code for each in error.recipients]
            return _by_code(min(codes), "The mail server refused every address")
        case aiosmtplib.SMTPAuthenticationError():
            words = "The mail server does not accept this service's login."
            return Handed(ok=False, status=error.code, error=words)
        case aiosmtplib.SMTPConnectResponseError() | aiosmtplib.SMTPHeloError():
            words = "The mail server turned this service away."
            return Handed(ok=False, status=error.code, error=words)
        case aiosmtplib.SMTPResponseException():
            return _by_code(error.code, "The mail server refused the mail")
        case aiosmtplib.SMTPNotSupported():
            words = "The mail server lacks what this mail or its login needs."
            return Handed(ok=False, error=words)
        case TimeoutError():
            return Handed(ok=False, error="The mail server did not answer in time.")
        case ssl.SSLError():
            return Handed(ok=False, error="TLS with the mail server failed.")
        case OSError() | aiosmtplib.SMTPException():
            return Handed(ok=False, error="No connection to the mail server held.")
        case _:
            return Handed(ok=False, error="The mail cannot be sent as it is.", permanent=True)


def _by_code(code: int, words: str) -> Handed:
    """A 4xx is about the moment, a 5xx about the mail."""
    return Handed(ok=False, status=code, error=f"{words} ({code}).", permanent=code >= 500)


class CommandTransport:
    """A program that takes the mail, headers and all, from its input (``sendmail -t``)."""

    def __init__(self, command: str) -> None:
        self._command = command.split()
        self._free = asyncio.Semaphore(MAX_CONNECTIONS)

    async def hand_over(self, mail: EmailMessage, _: Sequence[str], __: str) -> Handed:
        async with self._free:
            try:
                process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.DEVNULL,
                )
            except OSError:
                return Handed(ok=False, error="The program that sends mail could not be started.")
            try:
                await process.communicate(
                    mail.as_bytes(
                        policy=email.policy.SMTPUTF8.clone(linesep="\n", max_line_length=998)
                    )
                )
            finally:
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()
                    await process.wait()
        code = process.returncode
        if code == 0:
            return Handed(ok=True)
        later = code is None or code < 0 or code in _WORTH_ANOTHER_TRY or not 64 <= code <= 78
        return Handed(
            ok=False, error=f"The program that sends mail ended with {code}.", permanent=not later
        )
