"""Pages of other origins: those that are named see answers, others are served as ever."""

from typing import Any

import pytest

from nuska.transport.http.cors import with_cors

CONSOLE = "https://console.example.net"
Event = dict[str, Any]


async def plain(scope: Event, _receive: object, send: Any) -> None:
    start = {"type": "http.response.start", "status": 204, "headers": [(b"x-own", b"1")]}
    await send(start)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def ask(app: Any, method: str = "GET", **headers: str) -> tuple[int, dict[str, str]]:
    sent: list[Event] = []

    async def send(event: Event) -> None:
        sent.append(event)

    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    await app({"type": "http", "method": method, "headers": named}, None, send)
    shown = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], shown


def test_without_origins_nothing_is_wrapped() -> None:
    assert with_cors(plain, ()) is plain


async def test_a_named_page_sees_the_answer() -> None:
    status, headers = await ask(with_cors(plain, [CONSOLE]), origin=CONSOLE)
    assert status == 204
    assert headers["access-control-allow-origin"] == CONSOLE
    assert "X-OpenStack-Request-ID" in headers["access-control-expose-headers"]
    assert headers["vary"] == "Origin"
    assert headers["x-own"] == "1"


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", f"{CONSOLE}.evil.example", f"{CONSOLE}:444", "null", CONSOLE.upper()],
)
async def test_another_page_is_served_and_sees_nothing(origin: str) -> None:
    app = with_cors(plain, [CONSOLE])
    for method in ("GET", "OPTIONS"):
        status, headers = await ask(
            app, method, origin=origin, access_control_request_method="POST"
        )
        assert status == 204
        assert "access-control-allow-origin" not in headers


async def test_who_is_no_page_is_served_as_ever() -> None:
    status, headers = await ask(with_cors(plain, [CONSOLE]))
    assert (status, headers) == (204, {"x-own": "1", "vary": "Origin"})


async def test_a_named_page_may_ask_what_it_may_do() -> None:
    status, headers = await ask(
        with_cors(plain, [CONSOLE]),
        "OPTIONS",
        origin=CONSOLE,
        access_control_request_method="PATCH",
    )
    assert status == 200
    assert headers["access-control-allow-methods"] == "GET,PUT,POST,DELETE,PATCH,HEAD"
    assert "Client-id" in headers["access-control-allow-headers"]
    assert "x-own" not in headers


async def test_all_pages_can_be_named_and_each_is_told_for_itself() -> None:
    _, headers = await ask(with_cors(plain, ["*"]), origin="https://any.example")
    assert headers["access-control-allow-origin"] == "https://any.example"
