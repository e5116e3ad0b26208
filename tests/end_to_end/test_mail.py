"""The real server, and mail that arrives when its reader has confirmed."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from nuska.testing.mail_server import MailServer, mail_server
from nuska.testing.receiver import Receiver, receiver
from nuska.testing.server_process import ServerProcess

HEADERS = {"X-Project-Id": "acme", "Client-ID": "0f8fad5bd9cb469fa165708677289501"}
LOGGED_WITHIN, LOOK_EVERY = 20.0, 0.1
PUBLIC = "http://mq.example.net"
LINK = re.compile(rf"{re.escape(PUBLIC)}(/confirm\?\S+)")


@pytest.fixture
async def post_office() -> AsyncIterator[MailServer]:
    async with mail_server() as found:
        yield found


@pytest.fixture
async def hooks() -> AsyncIterator[Receiver]:
    async with receiver() as found:
        yield found


@pytest.fixture
def server(tmp_path: Path, post_office: MailServer) -> ServerProcess:
    environment = {
        "NUSKA_SMTP_MODE": "self_local",
        "NUSKA_SMTP_HOST": "127.0.0.1",
        "NUSKA_SMTP_PORT": str(post_office.port),
        "NUSKA_SMTP_SECURITY": "none",
        "NUSKA_MAIL_FROM": "Nuska <nuska@example.net>",
        "NUSKA_PUBLIC_URL": PUBLIC,
    }
    return ServerProcess(tmp_path, environment=environment)


async def answer(
    session: aiohttp.ClientSession, server: ServerProcess, mail: str, say: str
) -> None:
    """Press a button on the page to which a mail leads."""
    found = LINK.search(mail)
    assert found is not None
    async with session.post(f"{server.url}{found[1]}", data={"answer": say}) as page:
        assert page.status == 200, await page.text()


async def first_entries(session: aiohttp.ClientSession, url: str) -> Any:
    """A log as soon as something stands there."""
    async with asyncio.timeout(LOGGED_WITHIN):
        while True:
            async with session.get(url) as answered:
                log = await answered.json()
            if log["attempts"]:
                return log
            await asyncio.sleep(LOOK_EVERY)


async def test_mail_arrives_once_its_reader_has_confirmed_and_none_when_he_has_left(
    server: ServerProcess, post_office: MailServer, hooks: Receiver
) -> None:
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(headers=HEADERS, connector=connector) as session:
        with server:
            queue = f"{server.url}/v2/queues/jobs"

            async def post(body: object) -> None:
                document = {"messages": [{"body": body, "ttl": 600}]}
                async with session.post(f"{queue}/messages", json=document) as posted:
                    assert posted.status == 201, await posted.text()

            wanted = {"subscriber": "mailto:a@example.net", "options": {"subject": "Hello"}}
            async with session.post(f"{queue}/subscriptions", json=wanted) as made:
                assert made.status == 201, await made.text()
                id_ = (await made.json())["subscription_id"]
            await post_office.wait_for(1)
            log = await first_entries(session, f"{queue}/subscriptions/{id_}/attempts")
            [asked] = log["attempts"]
            assert (asked["letter"], asked["message_id"]) == ("SubscriptionConfirmation", None)
            assert (asked["ok"], log["waiting"]) == (True, {"for": "confirmation"})
            question = post_office.mails[0].mail
            assert "Do you want" in question["Subject"]
            await post("not yet")
            await answer(session, server, question.get_content(), "yes")
            await post("now")
            await post_office.wait_for(2)
            notification = post_office.mails[1].mail
            assert notification["Subject"] == "Hello"
            assert notification["From"] == "Nuska <nuska@example.net>"
            assert '"body": "now"' in notification.get_content()
            await answer(session, server, notification["List-Unsubscribe"].strip("<>"), "no")
            told = {"subscriber": hooks.url()}
            async with session.post(f"{queue}/subscriptions", json=told) as made:
                assert made.status == 201, await made.text()
            await post("not any more")
            await hooks.wait_for(1)
            await post_office.wait_for(3)
    [goodbye] = [mailed.mail for mailed in post_office.mails[2:]]
    assert "not any more" not in goodbye.get_content()
    assert "/confirm?" in goodbye.get_content()
