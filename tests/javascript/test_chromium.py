"""The JavaScript module in a real Chromium: a page of another address than the server's."""

import json
import signal
import socket
from pathlib import Path

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


async def test_posts_of_a_page_that_come_at_once_go_together_and_stay_in_order(
    server: ServerProcess, site: str, browser: Browser
) -> None:
    page = await browser.open(site)
    await page.until("window.loaded")
    frames = await page.ask(f"""(async () => {{
        let frames = 0;
        class Counting extends WebSocket {{
            send(text) {{ frames++; super.send(text); }}
        }}
        const nuska = new Nuska({json.dumps(server.url)},
            {{project: "p", transport: "websocket", WebSocket: Counting}});
        const jobs = nuska.queue("jobs");
        await Promise.all(Array.from({{length: 1000}}, (_, n) => jobs.post(n)));
        nuska.close();
        return frames;
    }})()""")
    assert frames < 30
    async with Client(server.url, project="p") as client:
        bodies = [message.body async for message in client.queue("jobs").messages()]
    assert bodies == list(range(1000))


@pytest.mark.parametrize("over", ["websocket", "events"])
async def test_a_page_notices_that_nobody_answers_and_goes_on_when_somebody_does(
    tmp_path: Path, site: str, browser: Browser, over: str
) -> None:
    """A server that stands still ends no connection: the page's side of it is half open."""
    page = await browser.open(site)
    await page.until("window.loaded")
    named = {"NUSKA_CORS_ORIGINS": site.rstrip("/")}
    with ServerProcess(tmp_path / "data", environment=named) as server:
        await page.ask(f"""(() => {{
            window.seen = [];
            window.states = [];
            const nuska = new Nuska({json.dumps(server.url)},
                {{project: "p", silence: 1, openTimeout: 1}});
            window.live = nuska.subscribe("news", {{
                over: {json.dumps(over)},
                onMessage: ({{body}}) => seen.push(body),
                onState: (state) => states.push(state),
            }});
        }})()""")
        await page.until("states.at(-1) === 'open'")
        server.signal(signal.SIGSTOP)
        try:
            await page.until("states.includes('waiting')")
        finally:
            server.signal(signal.SIGCONT)
        async with Client(server.url, project="p") as client:
            await client.queue("news").post("back")
        await page.until("seen.length >= 1")
        assert await page.ask("seen") == ["back"]
        await page.ask("live.close()")


async def test_a_page_may_set_a_limit_to_the_first_connection(site: str, browser: Browser) -> None:
    page = await browser.open(site)
    await page.until("window.loaded")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for over in ("websocket", "events"):
            said = await page.ask(f"""new Promise((done) => {{
                new Nuska({json.dumps(url)}, {{project: "p"}}).subscribe("news", {{
                    over: {json.dumps(over)},
                    openWithin: 0.5,
                    onState: (state, error) => state === "closed" && done(error.message),
                }});
            }})""")
            assert said == "no connection to the server within 0.5 seconds"
