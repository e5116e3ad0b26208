"""Mail against a real SMTP server that takes it, refuses it, or hangs."""

import asyncio
import json
import ssl
import sys
import time
from pathlib import Path

import pytest

from nuska.core.mail_quota import MailQuota
from nuska.core.quotas import QuotaBook
from nuska.delivery.senders.mail import NO_MAIL, OVER_QUOTA, Links, MailSender
from nuska.delivery.senders.transports import CommandTransport, MailTransport, SmtpTransport
from nuska.domain.quotas import Quota
from nuska.interfaces.notifications import ConfirmationRequest, Outcome
from nuska.stores.memory import MemoryStore
from nuska.testing.certificates import certificate
from nuska.testing.clock import ManualClock
from nuska.testing.mail_server import MailServer, mail_server
from nuska.testing.receiver import refusing_port

from .conftest import Notify, memory_store

LEAVE = "https://mq.example.net/confirm?x=1&y=2"
LATE = 8.0
"""Seconds beyond its limit that a busy machine may add."""
REQUEST = ConfirmationRequest(
    type="SubscriptionConfirmation",
    queue_name="jobs",
    project="p",
    path="/v2/queues/jobs/subscriptions/0/confirm",
    signature="ab" * 32,
    expires="2031-03-04T05:06:07",
)


def mailer(
    transport: MailTransport | None,
    clock: ManualClock,
    *,
    store: MemoryStore | None = None,
    per_day: int = 1000,
    leave: str | None = None,
    confirm: str | None = LEAVE,
    sender: str = "nuska@example.net",
    total: float = 20.0,
) -> MailSender:
    book = QuotaBook(Quota(mails_per_day=per_day), None)
    quota = MailQuota((store or memory_store()).records, clock, book)
    links = Links(lambda _: leave, lambda _: confirm)
    return MailSender(transport, quota, clock, links, sender=sender, total=total)


def smtp(server: MailServer | int, **options: object) -> SmtpTransport:
    port = server if isinstance(server, int) else server.port
    given: dict[str, object] = {"security": "none", "timeout": 10.0, **options}
    return SmtpTransport("127.0.0.1", port, **given)  # type: ignore[arg-type]


async def test_a_mail_is_what_the_contract_says(clock: ManualClock, notify: Notify) -> None:
    options = {"from": "Me <me@example.org>", "subject": "Jöbs"}
    async with mail_server() as server:
        outcome = await mailer(smtp(server), clock).send(
            notify("mailto:a@example.net,b@example.net", body='"é"'.encode(), **options)
        )
    assert outcome.ok
    assert outcome.status == 250
    [taken] = server.mails
    assert taken.sender == "me@example.org"
    assert taken.recipients == ["a@example.net", "b@example.net"]
    assert taken.mail["To"] == "a@example.net, b@example.net"
    assert taken.mail["From"] == "Me <me@example.org>"
    assert taken.mail["Subject"] == "Jöbs"
    assert taken.mail.get_content_type() == "text/plain"
    assert json.loads(taken.mail.get_content())["body"] == "é"
    assert taken.mail["Auto-Submitted"] == "auto-generated"
    assert taken.mail["List-Unsubscribe"] is None


async def test_a_subject_in_the_address_is_used_and_the_options_subject_wins(
    clock: ManualClock, notify: Notify
) -> None:
    url = "mailto:a@example.net?subject=From%20the%20URI&cc=evil@example.net"
    async with mail_server() as server:
        sender = mailer(smtp(server), clock)
        await sender.send(notify(url))
        await sender.send(notify(url, subject="From the options"))
        await sender.send(notify("mailto:a@example.net"))
    subjects = [each.mail["Subject"] for each in server.mails]
    assert subjects == ["From the URI", "From the options", ""]
    assert {tuple(each.recipients) for each in server.mails} == {("a@example.net",)}


async def test_templates_and_the_link_by_which_one_leaves(
    clock: ManualClock, notify: Notify
) -> None:
    options = {
        "subject": "$queue$: $body.name$",
        "mail_text": "Hello $body.name$, $body.none$$unknown$ $5$",
        "mail_html": "<b>$body.name$</b>",
    }
    async with mail_server() as server:
        outcome = await mailer(smtp(server), clock, leave=LEAVE).send(
            notify("mailto:a@example.net", body=b'{"name": "<i>\\nX"}', **options)
        )
    assert outcome.ok
    [taken] = server.mails
    assert taken.mail["Subject"] == "jobs: <i> X"
    assert taken.mail["List-Unsubscribe"] == f"<{LEAVE}>"
    plain, page = taken.mail.iter_parts()
    assert plain.get_content().startswith("Hello <i>\r\nX, $unknown$ $5$")
    assert LEAVE in plain.get_content()
    assert page.get_content_type() == "text/html"
    assert page.get_content().startswith("<b>&lt;i&gt;\r\nX</b>")
    assert LEAVE.replace("&", "&amp;") in page.get_content()


async def test_every_attempt_of_a_message_has_the_same_message_id(
    clock: ManualClock, notify: Notify
) -> None:
    async with mail_server() as server:
        sender = mailer(smtp(server), clock)
        for number in (1, 1, 2):
            await sender.send(notify("mailto:a@example.net", number=number))
    first, second, third = (each.mail["Message-ID"] for each in server.mails)
    assert first == second != third


@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_mail_goes_encrypted_and_logged_in(
    security: str, tmp_path: Path, clock: ManualClock, notify: Notify
) -> None:
    cert, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    trusting = ssl.create_default_context(cafile=str(cert))
    login = ("me", "sesame") if security == "starttls" else None
    async with mail_server(security=security, context=context, login=login) as server:  # type: ignore[arg-type]

        async def attempt(**options: object) -> Outcome:
            transport = smtp(server, security=security, **options)
            return await mailer(transport, clock).send(notify("mailto:a@example.net"))

        credentials = {"user": "me", "password": "sesame"} if login else {}
        assert (await attempt(context=trusting, **credentials)).ok
        [taken] = server.mails
        assert taken.encrypted
        assert taken.user == (login and login[0])
        assert not (await attempt(**credentials)).ok, "nobody vouches for the certificate"
        if login:
            wrong = await attempt(context=trusting, user="me", password="open")
            assert wrong.error == "The mail server does not accept this service's login."
            assert not wrong.permanent
        assert len(server.mails) == 1


async def test_a_server_without_encryption_gets_nothing_when_it_is_wanted(
    clock: ManualClock, notify: Notify
) -> None:
    async with mail_server() as server:
        transport = smtp(server, security="starttls")
        outcome = await mailer(transport, clock).send(notify("mailto:a@example.net"))
    assert not outcome.ok
    assert server.mails == []


@pytest.mark.parametrize(
    ("to", "ok", "permanent", "status"),
    [
        ("full@example.net", False, False, 452),
        ("nobody@example.net", False, True, 550),
        ("full@example.net,nobody@example.net", False, False, 452),
        ("a@example.net,nobody@example.net", True, False, 250),
    ],
)
async def test_a_refusal_says_whether_to_try_again_and_not_what_the_server_said(
    to: str, ok: bool, permanent: bool, status: int, clock: ManualClock, notify: Notify
) -> None:
    async with mail_server() as server:
        outcome = await mailer(smtp(server), clock).send(notify(f"mailto:{to}"))
    assert (outcome.ok, outcome.permanent, outcome.status) == (ok, permanent, status)
    assert outcome.error
    assert "secret" not in outcome.error


@pytest.mark.parametrize(("answer", "permanent"), [("451 later", False), ("554 spam", True)])
async def test_a_mail_that_is_refused_whole_is_told_by_its_code(
    answer: str, permanent: bool, clock: ManualClock, notify: Notify
) -> None:
    async with mail_server(refuse_data=answer) as server:
        outcome = await mailer(smtp(server), clock).send(notify("mailto:a@example.net"))
    assert (outcome.ok, outcome.permanent) == (False, permanent)
    assert outcome.status == int(answer[:3])


@pytest.mark.parametrize("place", ["CONNECT", "RCPT", "DATA"])
async def test_a_server_that_hangs_is_left_in_time(
    place: str, clock: ManualClock, notify: Notify
) -> None:
    async with mail_server(hang_at=place) as server:  # type: ignore[arg-type]
        started = time.monotonic()
        sender = mailer(smtp(server), clock, total=1.0)
        outcomes = await asyncio.gather(
            *(sender.send(notify("mailto:a@example.net")) for _ in range(20))
        )
        assert time.monotonic() - started < 1.0 + LATE
    for outcome in outcomes:
        assert outcome.error == "The mail could not be handed over in time."
        assert not outcome.permanent


async def test_a_server_that_is_not_there_is_worth_another_try(
    clock: ManualClock, notify: Notify
) -> None:
    with refusing_port() as port:
        outcome = await mailer(smtp(port), clock).send(notify("mailto:a@example.net"))
    assert outcome.error == "No connection to the mail server held."
    assert not outcome.permanent


@pytest.mark.parametrize(
    "options",
    [
        {"from": "me@example.org\nBcc: all@example.net"},
        {"from": "me@example.org\r\nBcc: all@example.net"},
        {"from": "not an address"},
        {"from": "a@b <c@d>, e@f"},
        {"from": 1},
        {"subject": "x\nBcc: all@example.net"},
        {"subject": "x\u2028y"},
        {"subject": []},
        {"mail_text": 1},
        {"mail_html": {}},
    ],
)
async def test_a_header_cannot_be_smuggled_in(
    options: dict[str, object], clock: ManualClock, notify: Notify
) -> None:
    async with mail_server() as server:
        outcome = await mailer(smtp(server), clock).send(notify("mailto:a@example.net", **options))
    assert outcome.permanent
    assert server.mails == []


async def test_a_line_break_in_the_addresss_subject_begins_no_header(
    clock: ManualClock, notify: Notify
) -> None:
    async with mail_server() as server:
        url = "mailto:a@example.net?subject=x%0d%0aBcc:%20all@example.net"
        outcome = await mailer(smtp(server), clock).send(notify(url))
    assert outcome.ok
    [taken] = server.mails
    assert taken.mail["Subject"] == "x Bcc: all@example.net"
    assert taken.mail["Bcc"] is None


async def test_a_project_sends_no_more_than_its_share_of_a_day(
    clock: ManualClock, notify: Notify
) -> None:
    store = memory_store()
    async with mail_server() as server:
        senders = [mailer(smtp(server), clock, store=store, per_day=5) for _ in range(2)]
        outcomes = await asyncio.gather(
            *(senders[n % 2].send(notify("mailto:a@example.net", number=n)) for n in range(9))
        )
        assert len(server.mails) == 5
        over = [outcome for outcome in outcomes if not outcome.ok]
        assert {outcome.error for outcome in over} == {OVER_QUOTA}
        for outcome in over:
            assert outcome.retry_after is not None
            assert 0 < outcome.retry_after <= 86_400_000
            assert not outcome.permanent
        clock.advance(seconds=over[0].retry_after / 1000 if over[0].retry_after else 0)
        assert (await senders[0].send(notify("mailto:a@example.net"))).ok
        two = await senders[0].send(
            notify("mailto:a@x.example,b@x.example,c@x.example,d@x.example,e@x.example")
        )
        assert two.error == OVER_QUOTA


async def test_without_a_way_to_send_mail_the_reason_is_said(
    clock: ManualClock, notify: Notify
) -> None:
    outcome = await mailer(None, clock).send(notify("mailto:a@example.net"))
    assert (outcome.error, outcome.permanent) == (NO_MAIL, True)


async def test_confirmation_is_asked_with_a_link(clock: ManualClock, notify: Notify) -> None:
    subscription = notify("mailto:a@example.net", subject="Not mine").subscription
    async with mail_server() as server:
        assert (await mailer(smtp(server), clock).ask(subscription, REQUEST)).ok
        without = await mailer(smtp(server), clock, confirm=None).ask(subscription, REQUEST)
    assert without.permanent
    assert "public_url" in (without.error or "")
    [taken] = server.mails
    assert "jobs" in taken.mail["Subject"]
    assert LEAVE in taken.mail.get_content()


async def test_the_endpoint_is_the_domain(clock: ManualClock, notify: Notify) -> None:
    sender = mailer(None, clock)
    assert sender.endpoint(notify("mailto:a@Example.NET,b@x").subscription) == "mailto:example.net"


# Through a program


def script(tmp_path: Path, body: str) -> CommandTransport:
    path = tmp_path / "sendmail.py"
    path.write_text(f"import sys, time\nmail = sys.stdin.read()\n{body}\n")
    return CommandTransport(f"{sys.executable} {path} -t -oi")


async def test_a_program_gets_the_whole_mail(
    tmp_path: Path, clock: ManualClock, notify: Notify
) -> None:
    out = tmp_path / "mail.txt"
    transport = script(tmp_path, f"open({str(out)!r}, 'w').write(mail + repr(sys.argv[1:]))")
    outcome = await mailer(transport, clock).send(notify("mailto:a@example.net,b@example.net"))
    assert outcome.ok
    text = out.read_text()
    assert "To: a@example.net, b@example.net\n" in text
    assert "['-t', '-oi']" in text


@pytest.mark.parametrize(("code", "permanent"), [(75, False), (67, True), (1, False)])
async def test_a_program_says_by_its_end_whether_to_try_again(
    code: int, permanent: bool, tmp_path: Path, clock: ManualClock, notify: Notify
) -> None:
    outcome = await mailer(script(tmp_path, f"sys.exit({code})"), clock).send(
        notify("mailto:a@example.net")
    )
    assert (outcome.ok, outcome.permanent) == (False, permanent)


async def test_a_program_that_hangs_is_ended_and_one_that_is_missing_is_said(
    tmp_path: Path, clock: ManualClock, notify: Notify
) -> None:
    hanging = mailer(script(tmp_path, "time.sleep(600)"), clock, total=1.0)
    started = time.monotonic()
    assert not (await hanging.send(notify("mailto:a@example.net"))).ok
    assert time.monotonic() - started < 1.0 + LATE
    missing = mailer(CommandTransport("/nonexistent/sendmail -t"), clock)
    outcome = await missing.send(notify("mailto:a@example.net"))
    assert outcome.error == "The program that sends mail could not be started."
    assert not outcome.permanent
