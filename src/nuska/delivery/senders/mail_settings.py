"""What an operator says about mail: the table ``[mail]`` of the settings."""

import ssl
from typing import Annotated, Literal

from msgspec import Meta, Struct

from nuska.delivery.senders.transports import (
    CommandTransport,
    MailTransport,
    Security,
    SmtpTransport,
)
from nuska.domain.mails import is_sender


class MailSettings(Struct, frozen=True, kw_only=True):
    smtp_mode: Annotated[
        Literal["off", "self_local", "third_part"],
        Meta(
            description="How [mail](mail.md) leaves: `self_local`: by SMTP to `smtp_host`; "
            "`third_part`: through `smtp_command`; `off`: not at all."
        ),
    ] = "off"
    smtp_command: Annotated[
        str, Meta(description="The program that takes a mail from its input; split at blanks.")
    ] = "/usr/sbin/sendmail -t -oi"
    smtp_host: Annotated[str, Meta(description="The server that takes mail.")] = ""
    smtp_port: Annotated[
        Annotated[int, Meta(ge=1, le=65_535)] | None,
        Meta(description="Its port; else 465 with `tls`, 587 with `starttls`, 25 with `none`."),
    ] = None
    smtp_security: Annotated[
        Security,
        Meta(
            description="`tls`: encrypted from the first byte, as Zaqar does; `starttls`: once the "
            "connection stands, and never without; `none`."
        ),
    ] = "tls"
    smtp_user_name: Annotated[str, Meta(description="Log in as this user.")] = ""
    smtp_user_password: Annotated[
        str,
        Meta(description="The user's password. It has no flag: others could read it there."),
    ] = ""
    mail_from: Annotated[
        str, Meta(description="Whom mail comes from, unless a subscription says.")
    ] = ""
    mail_per_day: Annotated[
        int, Meta(ge=0, description="Addresses that a project may mail in a day of UTC.")
    ] = 1000


def problems(settings: MailSettings) -> list[str]:
    """What does not go together."""
    found = []
    if settings.smtp_mode == "self_local" and not settings.smtp_host:
        found.append("smtp_mode is self_local, which needs smtp_host")
    if settings.smtp_mode == "third_part" and not settings.smtp_command.split():
        found.append("smtp_mode is third_part, which needs smtp_command")
    if settings.smtp_user_name and settings.smtp_security == "none":
        found.append("smtp_user_name: a password goes over connections that are encrypted only")
    if settings.mail_from and not is_sender(settings.mail_from):
        found.append("mail_from: this is not an address such as Nuska <nuska@example.org>")
    return found


def transport(
    settings: MailSettings, context: ssl.SSLContext, *, timeout: float
) -> MailTransport | None:
    """How mail leaves; None when it does not. ``timeout``: seconds for each step."""
    if settings.smtp_mode == "third_part":
        return CommandTransport(settings.smtp_command)
    if settings.smtp_mode == "self_local":
        return SmtpTransport(
            settings.smtp_host,
            settings.smtp_port,
            security=settings.smtp_security,
            user=settings.smtp_user_name or None,
            password=settings.smtp_user_password or None,
            context=context,
            timeout=timeout,
        )
    return None
