"""A real Chromium for tests of pages, driven over its own DevTools protocol.

    async with Browser(tmp_path) as browser:
        page = await browser.open("http://127.0.0.1:8080/")
        await page.until("document.title === 'ready'")

Each has a profile of its own and ends with its context. It knows only what tests here need:
opening a page, asking it something, pressing keys in it, and taking its picture.
"""

import asyncio
import base64
import contextlib
import json
import os
import re
import signal
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

PROGRAM = "chromium"
READY_WITHIN = 60.0
"""Seconds; generous, since many tests may run at once on a small machine."""
ANSWER_WITHIN = 60.0
"""Seconds for one command, and the longest that ``Page.until`` waits."""
STOP_WITHIN = 10.0
MAX_ANSWER = 64 * 1024 * 1024
"""Bytes; a screenshot is the longest answer."""
LINES_KEPT = 50
"""Of what the browser prints and pages say, for when something goes wrong."""

FLAGS = (
    "--headless",
    "--no-sandbox",  # it will not start as root otherwise, and it sees only our own pages
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    # Nothing is asked of the outside world.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
    "--window-size=1200,900",
)

_LISTENING = re.compile(r"DevTools listening on (ws://\S+)")


class BrowserFailed(Exception):
    """It did not start, a command was refused, or a page threw an error."""


class Browser:
    """One process of Chromium, with its profile below ``directory``."""

    def __init__(self, directory: Path, *flags: str) -> None:
        self._profile = directory / "chromium"
        self._flags = flags
        self._printed: deque[str] = deque(maxlen=LINES_KEPT)
        self._numbers = 0
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._listeners: dict[str, Callable[[dict[str, Any]], None]] = {}
        self._process: asyncio.subprocess.Process
        self._line: ClientConnection
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            PROGRAM,
            *FLAGS,
            *self._flags,
            f"--user-data-dir={self._profile}",
            "about:blank",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # so that its helpers end with it
        )
        try:
            async with asyncio.timeout(READY_WITHIN):
                where = await self._address()
                self._line = await connect(where, max_size=MAX_ANSWER, proxy=None)
        except (TimeoutError, OSError) as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
            raise BrowserFailed("\n".join(self._printed)) from error
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._drain())]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(BrowserFailed, ConnectionClosed, TimeoutError):
            await self.command("Browser.close")  # so that it ends its own helpers
        await self._line.close()
        await self._stop()
        await asyncio.gather(*self._tasks)

    async def open(self, url: str) -> "Page":
        """A new page that shows ``url``, once it has loaded."""
        target = await self.command("Target.createTarget", url="about:blank")
        attached = await self.command(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        page = Page(self, attached["sessionId"])
        self._listeners[attached["sessionId"]] = page.hear
        await page.command("Page.enable")
        await page.command("Runtime.enable")
        await page.go(url)
        return page

    async def command(
        self, method: str, *, session: str | None = None, **parameters: Any
    ) -> dict[str, Any]:
        """Carry out a command of the DevTools protocol; its result."""
        self._numbers += 1
        number = self._numbers
        request: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if session is not None:
            request["sessionId"] = session
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            await self._line.send(json.dumps(request))
            return await asyncio.wait_for(answer, ANSWER_WITHIN)
        finally:
            del self._waiting[number]

    async def _address(self) -> str:
        """Where it listens, which it says on standard error."""
        assert self._process.stderr is not None
        while line := (await self._process.stderr.readline()).decode(errors="replace"):
            self._printed.append(line.rstrip())
            if found := _LISTENING.search(line):
                return found[1]
        raise OSError("it ended")

    async def _drain(self) -> None:
        assert self._process.stderr is not None
        while line := await self._process.stderr.readline():
            self._printed.append(line.decode(errors="replace").rstrip())

    async def _read(self) -> None:
        """Bring answers to who asked, and events to their page."""
        try:
            async for text in self._line:
                message = json.loads(text)
                waiting = self._waiting.get(message.get("id"))
                if waiting is not None and not waiting.done():
                    if "error" in message:
                        waiting.set_exception(BrowserFailed(message["error"]["message"]))
                    else:
                        waiting.set_result(message["result"])
                elif listener := self._listeners.get(message.get("sessionId", "")):
                    listener(message)
        except ConnectionClosed:
            pass
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(BrowserFailed("the browser has ended"))

    async def _stop(self) -> None:
        """It ends by itself when told to; what does not is killed, with all its helpers."""
        try:
            await asyncio.wait_for(self._process.wait(), STOP_WITHIN)
        except TimeoutError:
            os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()


class Page:
    """One page. Made by ``Browser.open``."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.said: deque[str] = deque(maxlen=LINES_KEPT)
        """What it wrote to its console, and the errors nobody caught."""

    async def go(self, url: str) -> None:
        """Leave for ``url``; returns once it has loaded."""
        begun = await self.command("Page.navigate", url=url)
        if "errorText" in begun:
            raise BrowserFailed(f"{url}: {begun['errorText']}")
        await self.until("document.readyState === 'complete'")

    async def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise."""
        answer = await self.command(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            thrown = answer["exceptionDetails"].get("exception", {})
            raise BrowserFailed(thrown.get("description") or str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    async def until(self, expression: str) -> None:
        """Return once ``expression`` holds; the page itself looks."""
        looking = f"""new Promise((done) => {{
            const look = () => ({expression}) ? done(true) : setTimeout(look, 20);
            look();
        }})"""
        try:
            await self.ask(looking)
        except TimeoutError:
            told = "\n".join(self.said)
            raise BrowserFailed(f"it never came to be that {expression}\n{told}") from None

    async def click(self, selector: str) -> None:
        await self.ask(f"document.querySelector({json.dumps(selector)}).click()")

    async def fill(self, selector: str, text: str) -> None:
        """Write into a field, as somebody who types does."""
        await self.ask(f"""(() => {{
            const field = document.querySelector({json.dumps(selector)});
            field.value = {json.dumps(text)};
            for (const kind of ["input", "change"])
                field.dispatchEvent(new Event(kind, {{bubbles: true}}));
        }})()""")

    async def picture(self, path: Path) -> None:
        """Take its picture, as PNG."""
        taken = await self.command("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(taken["data"]))  # noqa: ASYNC240  nobody else waits

    async def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        return await self._browser.command(method, session=self._session, **parameters)

    def hear(self, event: dict[str, Any]) -> None:
        match event:
            case {"method": "Runtime.consoleAPICalled", "params": {"args": said}}:
                self.said.append(" ".join(str(one.get("value", one)) for one in said))
            case {"method": "Runtime.exceptionThrown", "params": {"exceptionDetails": thrown}}:
                self.said.append(str(thrown.get("exception", {}).get("description", thrown)))
