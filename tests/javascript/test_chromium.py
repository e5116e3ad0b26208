"""The JavaScript module in a real Chromium: a page of another address than the server's."""

import json

import pytest

from nuska.client import Client
from nuska.testing.browser import Browser
from nuska.testing.server_process import ServerProcess

pytestmark = pytest.mark.slow


async def test_a_page_posts_claims_and_deletes(
    server: ServerProcess, site: str, browser: Browser
) -> None:
    page = await browser.open(site)
    await page.until("window.loaded")
    left = await page.ask(f"""(async () => {{
        const nuska = new Nuska({json.dumps(server.url)}, {{project: "p", transport: "websocket"}});
        const jobs = nuska.queue("jobs");
        await jobs.postMany([{{body: "grün"}}, {{body: "rot"}}]);
        const claim = await jobs.claim({{limit: 1, ttl: 60}});
        await claim.delete(claim.messages[0]);
        const {{messages}} = await jobs.list();
        nuska.close();
        return messages.map(({{body}}) => body);
    }})()""")
    assert left == ["rot"]


async def test_a_page_sees_every_message_once_though_the_server_restarts(
    server: ServerProcess, site: str, browser: Browser
) -> None:
    page = await browser.open(site)
    await page.until("window.loaded")
    await page.ask(f"""(() => {{
        window.seen = [];
        window.states = [];
        const nuska = new Nuska({json.dumps(server.url)}, {{project: "p"}});
        window.live = nuska.subscribe("news", {{
            onMessage: ({{body}}) => seen.push(body),
            onState: (state) => states.push(state),
        }});
    }})()""")
    await page.until("states.at(-1) === 'open'")
    posted = 0
    for _ in range(2):
        async with Client(server.url, project="p") as client:
            for _ in range(5):
                await client.queue("news").post(posted)
                posted += 1
        server.terminate()
        await page.until("states.at(-1) === 'waiting'")
        server.start()
        async with Client(server.url, project="p") as client:
            await client.queue("news").post(posted)
            posted += 1
        await page.until(f"seen.length >= {posted}")
    assert await page.ask("seen") == list(range(posted))
    await page.ask("live.close()")
