"""Chromium's own ``EventSource``, on a page of another origin than the server's: what docs/live.md
promises to pages that use no module of ours."""

import json
import uuid
from pathlib import Path
from urllib.parse import urlencode

import pytest

from nuska.client import Client
from nuska.testing.browser import Browser, Page
from nuska.testing.plain_http import PlainClient
from nuska.testing.server_process import ServerProcess

pytestmark = pytest.mark.slow

MESSAGES = "/v2/queues/news/messages"
LISTEN = """(() => {
    window.heard = {seen: [], gaps: [], errors: 0, opened: 0};
    window.source = new EventSource(%s);
    source.onopen = () => heard.opened++;
    source.onerror = () => heard.errors++;
    source.onmessage = ({data}) => heard.seen.push(JSON.parse(data).body);
    source.addEventListener("gap", ({data}) => heard.gaps.push(data));
})()"""
"""Nothing else is done in the page: whether and from where it comes back is the browser's doing."""
OPEN = "source.readyState === EventSource.OPEN"
CONNECTING = "source.readyState === EventSource.CONNECTING"
CLOSED = "source.readyState === EventSource.CLOSED"


def serving(data: Path, site: str, **environment: str) -> ServerProcess:
    """A server that lets that page in."""
    named = {"NUSKA_CORS_ORIGINS": site.rstrip("/"), **environment}
    return ServerProcess(data, environment=named)


async def listening(browser: Browser, site: str, url: str) -> Page:
    page = await browser.open(site)
    await page.ask(LISTEN % json.dumps(url))
    return page


async def post(server: ServerProcess, *bodies: object) -> None:
    async with Client(server.url, project="p") as client:
        for body in bodies:
            await client.queue("news").post(body)


async def stops_and_comes_back(server: ServerProcess, page: Page, posted: int) -> int:
    """Twice, in an orderly way and without a word; how much was posted in all."""
    for end in (server.terminate, server.kill):
        await post(server, *range(posted, posted + 5))
        await page.until(f"heard.seen.length === {posted + 5}")
        end()
        await page.until(CONNECTING)
        server.start()
        await post(server, posted + 5, posted + 6)
        posted += 7
        await page.until(f"heard.seen.length >= {posted}")
    return posted


async def test_a_page_of_another_origin_hears_every_message_once_though_the_server_restarts(
    tmp_path: Path, site: str, browser: Browser
) -> None:
    with serving(tmp_path / "data", site) as server:
        page = await listening(browser, site, f"{server.url}{MESSAGES}/stream?project_id=p")
        await page.until(OPEN)
        posted = await stops_and_comes_back(server, page, 0)
        heard = await page.ask("heard")
        assert heard["seen"] == list(range(posted))
        assert heard["gaps"] == []
        assert heard["opened"] >= 3
        await page.ask("source.close()")


async def test_a_link_that_only_reads_is_enough_for_a_page_across_restarts_and_for_no_more(
    tmp_path: Path, site: str, browser: Browser
) -> None:
    with serving(tmp_path / "data", site, NUSKA_SIGNING_KEY="k" * 40) as server:
        async with PlainClient(server.port, project="p", client_id=str(uuid.uuid4())) as client:
            terms = {"paths": ["messages"], "methods": ["GET"]}
            shared = json.loads((await client.ask("POST", "/v2/queues/news/share", terms)).body)
        lists = {name: ",".join(shared[name]) for name in ("methods", "paths")}
        rest = {name: shared[name] for name in ("signature", "expires")}
        signed = urlencode({**rest, **lists, "project_id": shared["project"]})
        page = await listening(browser, site, f"{server.url}{MESSAGES}/stream?{signed}")
        await page.until(OPEN)
        posted = await stops_and_comes_back(server, page, 0)
        assert (await page.ask("heard.seen")) == list(range(posted))
        assert (await page.ask("heard.gaps")) == []

        async def status(method: str, url: str) -> int:
            sent = {"method": method, "headers": {"Content-Type": "application/json"}}
            if method == "POST":
                sent["body"] = '{"messages": [{"body": "mine"}]}'
            asked = f"fetch({json.dumps(url)}, {json.dumps(sent)}).then((answer) => answer.status)"
            found: int = await page.ask(asked)
            return found

        assert await status("GET", f"{server.url}{MESSAGES}?echo=true&{signed}") in (200, 400)
        assert await status("POST", f"{server.url}{MESSAGES}?{signed}") == 404
        assert await status("DELETE", f"{server.url}{MESSAGES}?pop=1&{signed}") == 404
        await page.ask("source.close()")
        for wrong in (
            f"{server.url}/v2/queues/other/messages/stream?{signed}",
            f"{server.url}{MESSAGES}/stream?{signed.replace('project_id=p', 'project_id=q')}",
        ):
            await page.ask(LISTEN % json.dumps(wrong))
            await page.until(CLOSED)
            assert (await page.ask("heard.opened")) == 0


async def test_a_page_that_the_operator_has_not_named_hears_nothing(
    tmp_path: Path, site: str, browser: Browser
) -> None:
    with serving(tmp_path / "data", "https://console.example.net") as server:
        page = await listening(browser, site, f"{server.url}{MESSAGES}/stream?project_id=p")
        await page.until(CLOSED)
        await post(server, "secret")
        assert (await page.ask("heard")) == {"seen": [], "gaps": [], "errors": 1, "opened": 0}


async def test_a_page_is_told_of_a_gap_when_it_comes_back_with_a_marker_from_long_ago(
    tmp_path: Path, site: str, browser: Browser
) -> None:
    with serving(tmp_path / "data", site) as server:
        stream = f"{server.url}{MESSAGES}/stream?project_id=p&last_event_id=17"
        page = await listening(browser, site, stream)
        await page.until("heard.gaps.length === 1")
        gap = json.loads((await page.ask("heard.gaps"))[0])
        assert (gap["queue"], gap["after"]) == ("news", "17")
        await post(server, "new")
        await page.until("heard.seen.length === 1")
        await page.ask("source.close()")
