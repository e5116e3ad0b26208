"""Headers that could be read in two ways, at a server that asks who is calling (S1): whoever
reads them last, nobody gets in by them who would not without."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from nuska.domain.moments import Moment
from nuska.domain.signing import Signer
from nuska.testing.raw_http import converse
from nuska.testing.server_process import ServerProcess
from nuska.testing.websocket_client import talking

KEY = "a-key-to-sign-with"
CLIENT = "Client-ID: 0f8fad5b-d9cb-469f-a165-70867728950e"
FAR = Moment(1_930_367_167_000)  # 2031-03-04T05:06:07Z
SIGNED = Signer(KEY).sign(
    paths=("/v2/queues/jobs/messages",), methods=("GET",), project="shop", expires_at=FAR
)
SIGNATURE = f"URL-Signature: {SIGNED.signature}"
TERMS = (
    f"URL-Expires: {SIGNED.expires}",
    "URL-Methods: GET",
    "URL-Paths: /v2/queues/jobs/messages",
)
PROJECT = "X-Project-Id: shop"
LINK = f"signature={SIGNED.signature}&expires={quote(SIGNED.expires)}&methods=GET" + (
    "&paths=%2Fv2%2Fqueues%2Fjobs%2Fmessages&project_id=shop"
)
IDENTITY = (
    "X-Identity-Status: Confirmed",
    "X-Roles: admin",
    "X-Role: admin",
    "X-User-Id: root",
    "X-Tenant-Id: shop",
    "X-Service-Roles: admin",
    "X-Is-Admin-Project: True",
    "X-Forwarded-User: root",
    "Remote-User: root",
    "X-Service-Token: <key>",
    "OpenStack-Identity-Token: <key>",
)
"""What a proxy, or Keystone's middleware, would have set."""

Row = tuple[str, int, tuple[str, ...]]

ROWS: list[Row] = [
    ("a key", 200, ("X-Auth-Token: <key>",)),
    ("letters of any case", 200, ("x-aUTH-tOKEN: <key>",)),
    ("blanks around the value", 200, ("X-Auth-Token: \t <key> \t ",)),
    ("what a client says of itself", 401, (PROJECT, *IDENTITY)),
    ("what a client says, in any case", 401, (PROJECT.lower(), *(i.lower() for i in IDENTITY))),
    ("an underscore for a hyphen", 401, ("X_Auth_Token: <key>",)),
    ("an underscore beside what is wrong", 401, ("X-Auth-Token: no", "X_Auth_Token: <key>")),
    ("two tokens, good and bad", 401, ("X-Auth-Token: <key>", "X-Auth-Token: no")),
    ("two tokens, bad and good", 401, ("X-Auth-Token: no", "X-Auth-Token: <key>")),
    ("two good tokens", 401, ("X-Auth-Token: <key>", "x-auth-token: <key>")),
    ("two tokens in one header", 401, ("X-Auth-Token: <key>,<key>",)),
    ("two bearers", 401, ("Authorization: Bearer <key>", "Authorization: Bearer no")),
    ("a token and a key", 401, ("X-Auth-Token: <key>", "X-Api-Key: <key>")),
    ("a bad token and a good bearer", 401, ("X-Auth-Token: no", "Authorization: Bearer <key>")),
    ("an empty token and a good bearer", 401, ("X-Auth-Token:", "Authorization: Bearer <key>")),
    ("a bearer of nothing", 401, ("Authorization: Bearer",)),
    ("a bearer without a blank", 401, ("Authorization: Bearer<key>",)),
    ("a cookie", 401, ("Cookie: X-Auth-Token=<key>; token=<key>",)),
    ("a method that is another one", 401, ("X-HTTP-Method-Override: OPTIONS",)),
    ("a path that is another one", 401, ("X-Original-URL: /v2/ping", "X-Rewrite-URL: /")),
    ("a header that is said to end here", 401, ("Connection: X-Auth-Token", "X-Auth-Token: no")),
    ("a signature", 200, (SIGNATURE, *TERMS, PROJECT)),
    ("a signature, in capitals", 200, (SIGNATURE.replace("URL-S", "URL-s"), *TERMS, PROJECT)),
    ("an empty signature and a good key", 404, ("URL-Signature:", "X-Auth-Token: <key>")),
    ("an empty signature in capitals", 404, ("URL-SIGNATURE:", "X-Auth-Token: <key>")),
    ("an empty signature of blanks", 404, ("url-signature: \t ", "X-Auth-Token: <key>")),
    ("a signature under another name", 401, (SIGNATURE.replace("-", "_", 1), *TERMS, PROJECT)),
    ("another name beside a good key", 200, ("URL_Signature:", "X-Auth-Token: <key>")),
    ("a signature twice", 404, (SIGNATURE, SIGNATURE, *TERMS, PROJECT)),
    ("a signature, then an empty one", 404, (SIGNATURE, "URL-Signature:", *TERMS, PROJECT)),
    ("an empty one, then a signature", 404, ("URL-Signature:", SIGNATURE, *TERMS, PROJECT)),
    ("terms twice", 404, (SIGNATURE, *TERMS, TERMS[1], PROJECT)),
    ("a project too many", 404, (SIGNATURE, *TERMS, PROJECT, "X-Project-Id: bank")),
    ("another project first", 404, (SIGNATURE, *TERMS, "X-Project-Id: bank", PROJECT)),
    ("a project under its old name", 404, (SIGNATURE, *TERMS, "X-Tenant-Id: shop")),
    ("a signature and roles", 200, (SIGNATURE, *TERMS, PROJECT, "X-Roles: admin")),
]
MALFORMED = [
    "X-Auth-Token : <key>",
    " X-Auth-Token: <key>",
    "X-Auth-Token\t: <key>",
    "X-Auth-Token: no\r\n <key>",
    "X-Auth-Token: <key>\0",
    "X-Auth-Token: no\n: <key>",
    "X-Auth-Token <key>",
    ": <key>",
]
"""Not headers at all, whoever would read them as such."""


@dataclass(frozen=True)
class Closed:
    server: ServerProcess
    key: str

    @property
    def websockets(self) -> list[str]:
        """Beside the API, and on a port of their own."""
        [own] = re.findall(r"websockets +(ws://\S+)", self.server.output)
        return [f"ws://127.0.0.1:{self.server.port}/v2/websocket", str(own)]

    async def status(self, *lines: str, query: str = "", path: str = "jobs/messages") -> int:
        target = f"/v2/queues/{path}{'?' if query else ''}{query}"
        head = [f"GET {target} HTTP/1.1", "Host: localhost", CLIENT, *lines]
        sent = "\r\n".join(head).replace("<key>", self.key) + "\r\n\r\n"
        told = await converse("127.0.0.1", self.server.port, sent.encode("latin-1"))
        return told.status


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Closed]:
    data: Path = tmp_path_factory.mktemp("data")
    made = subprocess.run(
        [
            *(sys.executable, "-m", "nuska", "key", "create", "--in-store", "--data", str(data)),
            *("--project", "shop", "--role", "admin"),
        ],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ},
    )
    environment = {"NUSKA_SIGNING_KEY": KEY}
    arguments = ("--auth", "keys", "--websocket-listen", "127.0.0.1:0")
    with ServerProcess(data, *arguments, environment=environment) as server:
        yield Closed(server, made.stdout.strip())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
async def test_a_header_that_can_be_read_in_two_ways_lets_nobody_in(
    closed: Closed, row: Row
) -> None:
    _, status, lines = row
    assert await closed.status(*lines) == status
    assert await closed.status(*lines[::-1]) == status, "in the other order"


@pytest.mark.parametrize("line", MALFORMED)
async def test_what_is_no_header_is_not_read_as_one(closed: Closed, line: str) -> None:
    assert await closed.status(line) == 400


@pytest.mark.parametrize(
    ("query", "lines", "status"),
    [
        (LINK, (), 200),
        (LINK, ("X-Auth-Token: no", "X-Roles: admin"), 200),
        (LINK, ("X-Project-Id: bank",), 200),
        (LINK.replace("=shop", "=bank"), (PROJECT,), 404),
        (f"{LINK}&project_id=bank", (), 404),
        (f"project_id=bank&{LINK}", (), 404),
        (f"{LINK}&methods=POST", (), 404),
        (f"{LINK}&signature=", (), 404),
        (f"signature=&{LINK}", (), 404),
        (LINK, (SIGNATURE, *TERMS, PROJECT), 404),
        (LINK, ("URL-Signature:",), 404),
        (LINK, ("URL-Signature:", "X-Auth-Token: <key>"), 404),
        (LINK.replace("signature", "Signature"), (), 401),
        (LINK.replace("signature", "%73ignature"), (), 401),
        (LINK.replace("&", ";"), (), 404),
        ("signature", ("X-Auth-Token: <key>",), 200),
        ("signature=", ("X-Auth-Token: <key>",), 404),
        ("limit=5&signature=x", ("X-Auth-Token: <key>",), 404),
    ],
)
async def test_a_link_means_one_thing(
    closed: Closed, query: str, lines: tuple[str, ...], status: int
) -> None:
    assert await closed.status(*lines, query=query) == status


async def test_the_project_is_the_credentials_whatever_the_headers_say(closed: Closed) -> None:
    posted = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "nuska", "message", "post", "jobs", "1"),
        env={
            **os.environ,
            "NUSKA_URL": closed.server.url,
            "NUSKA_TOKEN": closed.key,
            "NUSKA_PROJECT": "shop",
        },
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert await posted.wait() == 0
    for lines in (
        ("X-Project-Id: bank",),
        ("X-Project-Id: bank", PROJECT),
        ("X-Tenant-Id: bank", "X-Tenant: bank"),
    ):
        head = ["GET /v2/queues HTTP/1.1", "Host: localhost", CLIENT, *lines]
        head.append(f"X-Auth-Token: {closed.key}")
        sent = ("\r\n".join(head) + "\r\n\r\n").encode()
        told = await converse("127.0.0.1", closed.server.port, sent)
        assert b'"jobs"' in told.answers[0].body, lines


@pytest.mark.parametrize("place", [0, 1], ids=["beside the API", "on a port of their own"])
async def test_no_header_of_a_handshake_says_who_speaks_on_a_websocket(
    closed: Closed, place: int
) -> None:
    shown = {
        "X-Auth-Token": closed.key,
        "X-Api-Key": closed.key,
        "Authorization": f"Bearer {closed.key}",
        "X-Project-Id": "shop",
        "URL-Signature": SIGNED.signature,
        **dict(line.replace("<key>", closed.key).split(": ", 1) for line in IDENTITY),
    }
    url = closed.websockets[place]
    async with talking(url, project="shop", additional_headers=shown) as talk:
        refused = await talk.ask("queue_list")
        assert (refused.status, refused.body) == (403, {"error": "Not authentified."})
        assert (await talk.ask("authenticate", {"X-Auth-Token": "no"})).status == 401
        assert (await talk.ask("queue_list")).status == 403
        assert (await talk.ask("authenticate", {"X-Auth-Token": closed.key})).status == 200
        assert (await talk.ask("queue_list")).status == 200


@pytest.mark.parametrize("place", [0, 1], ids=["beside the API", "on a port of their own"])
async def test_no_query_of_a_handshake_says_so_either(closed: Closed, place: int) -> None:
    query = f"{LINK}&token={closed.key}&X-Auth-Token={closed.key}"
    async with talking(f"{closed.websockets[place]}?{query}", project="shop") as talk:
        assert (await talk.ask("message_list", queue_name="jobs")).status == 403
