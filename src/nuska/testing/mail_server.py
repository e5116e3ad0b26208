"""A real SMTP server that takes mail, encrypted or not, refuses some, or hangs.

By the name before the ``@`` of an address: ``full`` is refused for the moment (452), ``nobody``
for ever (550); mail to anybody else is kept in ``mails``. To hang, it can be told a command.
"""

import asyncio
import contextlib
import email
import email.policy
import ssl
from collections.abc import AsyncIterator
from email.message import EmailMessage
from typing import Any, Literal

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from msgspec import Struct

HOST = "127.0.0.1"


class Mailed(Struct, frozen=True):
    """A mail that was taken."""

    sender: str
    recipients: list[str]
    mail: EmailMessage
    encrypted: bool
    user: str | None


class MailServer:
    """What it took, and where it is."""

    def __init__(self, hang_at: str | None, refuse_data: str | None) -> None:
        self.mails: list[Mailed] = []
        self.port = 0
        self._hang_at = hang_at
        self._refuse_data = refuse_data
        self._arrived = asyncio.Event()

    async def wait_for(self, count: int, within: float = 30.0) -> None:
        """Until so many mails have been taken; ``TimeoutError`` when they are not."""
        async with asyncio.timeout(within):
            while len(self.mails) < count:
                self._arrived.clear()
                await self._arrived.wait()

    async def handle_RCPT(  # noqa: N802  # aiosmtpd looks for this name
        self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: list[str]
    ) -> str:
        await self._perhaps_hang("RCPT")
        match address.partition("@")[0]:
            case "full":
                return "452 no room at the moment"
            case "nobody":
                return "550 no such person: secret-name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        await self._perhaps_hang("DATA")
        if self._refuse_data:
            return self._refuse_data
        content = envelope.content
        assert isinstance(content, bytes)
        login: Any = session.auth_data
        transport: Any = server.transport
        self.mails.append(
            Mailed(
                sender=envelope.mail_from or "",
                recipients=list(envelope.rcpt_tos),
                mail=email.message_from_bytes(content, policy=email.policy.default),
                encrypted=transport.get_extra_info("ssl_object") is not None,
                user=None if login is None else login.login.decode(),
            )
        )
        self._arrived.set()
        return "250 taken"

    async def _perhaps_hang(self, command: str) -> None:
        if self._hang_at == command:
            await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def mail_server(
    *,
    security: Literal["tls", "starttls", "none"] = "none",
    context: ssl.SSLContext | None = None,
    login: tuple[str, str] | None = None,
    hang_at: Literal["CONNECT", "RCPT", "DATA"] | None = None,
    refuse_data: str | None = None,
) -> AsyncIterator[MailServer]:
    """A mail server on a free port. ``context``: its certificate; ``login``: the one that it
    wants; ``refuse_data``: what it says to every mail once it has been sent."""
    found = MailServer(hang_at, refuse_data)
    sessions: set[SMTP] = set()

    def authenticate(*given: object) -> AuthResult:
        asked = given[-1]
        ok = isinstance(asked, LoginPassword) and login == (
            asked.login.decode(),
            asked.password.decode(),
        )
        return AuthResult(success=ok, handled=ok, auth_data=asked if ok else None)

    def session() -> asyncio.BaseProtocol:
        if hang_at == "CONNECT":
            return asyncio.Protocol()
        made = SMTP(
            found,
            hostname="mail.test",
            tls_context=context if security == "starttls" else None,
            require_starttls=security == "starttls",
            auth_required=login is not None,
            auth_require_tls=security == "starttls",
            authenticator=authenticate if login is not None else None,
        )
        sessions.add(made)
        return made

    loop = asyncio.get_running_loop()
    implicit = context if security == "tls" else None
    server = await loop.create_server(session, HOST, 0, ssl=implicit)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        handlers = []
        for each in sessions:
            if isinstance(each.transport, asyncio.Transport):
                each.transport.abort()
            handler: asyncio.Task[None] | None = each._handler_coroutine
            if handler is not None:
                handler.cancel()
                handlers.append(handler)
        await asyncio.gather(*handlers, return_exceptions=True)
