"""Subscribers reached by mail: one mail for each message (contract notifications §4).

Puts the mail together and sees that no project sends more than its share. How it leaves is
``transports``' business; what stands in it, ``domain/mails.py``'s.
"""

import asyncio
import logging
from collections.abc import Callable
from email.message import EmailMessage
from email.utils import formatdate, parseaddr

from msgspec import Struct

from nuska.core.mail_quota import MailQuota
from nuska.delivery.senders.limits import within
from nuska.delivery.senders.outcomes import failed, refused
from nuska.delivery.senders.transports import MailTransport
from nuska.domain.errors import InvalidInput, NuskaError
from nuska.domain.internal import owner_of
from nuska.domain.mails import Letter, MailOptions, letter, parse_mail_options, subject_of
from nuska.domain.moments import Duration
from nuska.domain.subscribers import recipients
from nuska.domain.subscriptions import Subscription
from nuska.interfaces.clock import Clock
from nuska.interfaces.notifications import ConfirmationRequest, Notification, Outcome

NO_MAIL = "This server sends no mail: its operator has not configured how."
OVER_QUOTA = "The project has sent as much mail as it may in a day."

log = logging.getLogger("nuska.delivery")


class Links(Struct, frozen=True):
    """Where people answer; each gives None where the service has no such page."""

    leave: Callable[[Subscription], str | None]
    confirm: Callable[[ConfirmationRequest], str | None]


class MailSender:
    """Implements ``Sender`` for ``mailto``."""

    def __init__(
        self,
        transport: MailTransport | None,
        quota: MailQuota,
        clock: Clock,
        links: Links,
        *,
        sender: str = "",
        total: float,
    ) -> None:
        """``transport`` None: mail is not configured. ``sender``: whom mail comes from unless
        the subscription says. ``total``: seconds that an attempt may take."""
        self._transport = transport
        self._quota = quota
        self._clock = clock
        self._links = links
        self._sender = sender
        self._total = total

    async def send(self, notification: Notification) -> Outcome:
        subscription, message = notification.subscription, notification.message
        try:
            options = parse_mail_options(subscription.options)
        except InvalidInput as error:
            return refused(error.description)
        subject = options.subject
        if subject is None:
            subject = subject_of(subscription.subscriber) or ""
        link = self._links.leave(subscription)
        try:
            words = letter(message, notification.name, options, subject=subject, link=link)
        except InvalidInput as error:
            return refused(error.description)
        mail_id = f"{message.id}.{subscription.id}"
        return await self._send(subscription, options, words, mail_id, link)

    async def ask(self, subscription: Subscription, request: ConfirmationRequest) -> Outcome:
        link = self._links.confirm(request)
        if link is None:
            return refused("Mail that asks for confirmation needs the operator to set public_url.")
        words = _question(request, link)
        mail_id = f"{request.signature[:32]}.{subscription.id}"
        return await self._send(subscription, MailOptions(), words, mail_id, None)

    def endpoint(self, subscription: Subscription) -> str:
        found = recipients(subscription.subscriber)
        return f"mailto:{found[0].rpartition('@')[2].lower()}" if found else "unknown"

    async def close(self) -> None:
        """Nothing is kept open."""

    async def _send(
        self,
        subscription: Subscription,
        options: MailOptions,
        words: Letter,
        mail_id: str,
        link: str | None,
    ) -> Outcome:
        if self._transport is None:
            return refused(NO_MAIL)
        to, sender = recipients(subscription.subscriber), options.sender or self._sender
        loop = asyncio.get_running_loop()
        started = loop.time()

        def latency() -> Duration:
            return Duration(round((loop.time() - started) * 1000))

        try:
            mail = self._mail(to, sender, words, mail_id, link)
        except ValueError:  # the library's own guard: a line break, or what is no address
            return refused("The subscription's addresses cannot stand in a mail.")
        try:
            async with asyncio.timeout(self._total):
                wait = await self._quota.take(owner_of(subscription.queue.project), len(to))
            if wait is not None:
                return failed(OVER_QUOTA, latency(), wait=wait)
            handing = self._transport.hand_over(mail, to, parseaddr(sender)[1])
            handed = await within(self._total, handing)
        except TimeoutError:
            return failed("The mail could not be handed over in time.", latency())
        except NuskaError as error:
            return failed(error.description, latency())
        except Exception as error:
            log.error("A mail failed in an unexpected way: %s.", type(error).__name__)
            return failed("The mail failed in an unexpected way.", latency())
        return Outcome(
            ok=handed.ok,
            latency=latency(),
            status=handed.status,
            error=handed.error,
            permanent=handed.permanent,
        )

    def _mail(
        self, to: list[str], sender: str, words: Letter, mail_id: str, link: str | None
    ) -> EmailMessage:
        mail = EmailMessage()
        mail["To"] = ", ".join(to)
        if sender:
            mail["From"] = sender
        mail["Subject"] = words.subject
        mail["Date"] = formatdate(self._clock.now() / 1000)
        # The same at every attempt: whoever gets it twice can tell.
        mail["Message-ID"] = f"<{mail_id}@{parseaddr(sender)[1].rpartition('@')[2] or 'nuska'}>"
        mail["Auto-Submitted"] = "auto-generated"
        if link is not None:
            mail["List-Unsubscribe"] = f"<{link}>"
            mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        mail.set_content(words.text)
        if words.html is not None:
            mail.add_alternative(words.html, subtype="html")
        return mail


def _question(request: ConfirmationRequest, link: str) -> Letter:
    if request.type == "UnsubscribeConfirmation":
        return Letter(
            subject=f"You no longer get notifications from {request.queue_name}",
            text=f"You have unsubscribed from the queue {request.queue_name} of the project "
            f"{request.project}.\n\nTo get its notifications again, open this page:\n\n{link}\n",
        )
    return Letter(
        subject=f"Do you want notifications from {request.queue_name}?",
        text=f"Somebody asked that you be told of what is posted to the queue "
        f"{request.queue_name} of the project {request.project}.\n\n"
        f"If that is what you want, open this page and confirm:\n\n{link}\n\n"
        "If not, do nothing: you will get nothing more.\n",
    )
