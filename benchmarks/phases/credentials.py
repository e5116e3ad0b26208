"""What a credential costs: posts that show one, beside posts in open mode.

One client, one request after the other, on one server; the sides take turns, so that only what
is shown differs.
"""

import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import servers, stand_ins
from benchmarks.bench import Bench
from benchmarks.cycle import in_turns
from benchmarks.figures import Figure, at_most
from benchmarks.wire import PROJECT, Connection, Refused, request

BOUND = 1.1
"""Median time of a post, beside an open one."""
MESSAGES = "/v2/queues/jobs/messages"
BODY = {"messages": [{"ttl": 3600, "body": {"job": 17, "kind": "resize", "path": "/in/a.png"}}]}
KEYSTONE_TOKEN = "gAAAAAB" + "x" * 176
"""As long as real ones are."""
_POSTS_A_TURN = 5
WARM_UP = 20


def signed(bench: Bench) -> Iterator[Figure]:
    """Posts by pre-signed URLs: in headers, as a link, and one that is kept."""
    with servers.nuska(bench.fresh("signed")) as nuska, Connection(nuska.port) as connection:
        terms = {"methods": ["POST"]}
        shared = connection.must("POST", "/v2/queues/jobs/share", terms).json()
        kept = connection.must("POST", "/v2/queues/jobs/grants", terms).json()
        link = connection.must("POST", "/v2/queues/jobs/grants", terms).json()["urls"][0]
        sides = {
            "open": Posts(connection, request("POST", MESSAGES, BODY)),
            "a signature in headers": Posts(connection, _signed(shared)),
            "a plain link": Posts(connection, request("POST", _link(shared), BODY)),
            "a kept URL, whose record is read": Posts(connection, _signed(kept)),
            "a kept URL as a link": Posts(connection, request("POST", link, BODY)),
        }
        turns: list[Callable[[], None]] = [side.turn for side in sides.values()]
        in_turns(turns, rounds=WARM_UP)
        for side in sides.values():
            side.taken.clear()
        in_turns(turns, rounds=60 if bench.quick else 400)
    base = sides.pop("open").taken
    for name, side in sides.items():
        yield _beside("signed", name, side.taken, base, bounded="kept" not in name)


def proven(bench: Bench) -> Iterator[Figure]:
    """Posts by tokens and keys that the server knows already, on a server for each of them."""
    with ExitStack() as stack:
        keystone = stack.enter_context(stand_ins.keystone())
        issuer, token = stack.enter_context(stand_ins.issuer())
        key = new_key(bench.fresh("proven-keys"))
        sides = {
            "open": _post_to(bench, stack, "proven-open", "", {}),
            "a Keystone token": _post_to(
                bench,
                stack,
                "proven-keystone",
                KEYSTONE_TOKEN,
                {
                    "NUSKA_AUTH_STRATEGY": "keystone",
                    "NUSKA_KEYSTONE_URL": keystone,
                    "NUSKA_KEYSTONE_PASSWORD": "any",
                },
            ),
            "a JSON Web Token": _post_to(
                bench,
                stack,
                "proven-jwt",
                token,
                {
                    "NUSKA_AUTH_STRATEGY": "jwt",
                    "NUSKA_JWT_ISSUER": issuer,
                    "NUSKA_JWT_JWKS_URL": f"{issuer}/keys",
                    "NUSKA_JWT_AUDIENCE": stand_ins.AUDIENCE,
                },
            ),
            "an API key": _post_to(
                bench, stack, "proven-keys", key, {"NUSKA_AUTH_STRATEGY": "keys"}
            ),
        }
        turns: list[Callable[[], None]] = [side.turn for side in sides.values()]
        in_turns(turns, rounds=WARM_UP)
        for side in sides.values():
            side.taken.clear()
        in_turns(turns, rounds=60 if bench.quick else 400)
    base = sides.pop("open").taken
    for name, side in sides.items():
        yield _beside("proven", name, side.taken, base, bounded=True)


def _post_to(
    bench: Bench, stack: ExitStack, data: str, token: str, environment: dict[str, str]
) -> "Posts":
    """Posts to a server of its own, by a token."""
    directory = bench.directory / data
    nuska = stack.enter_context(servers.nuska(directory, name=data, environment=environment))
    connection = stack.enter_context(Connection(nuska.port))
    shown = {"X_Auth_Token": token} if token else {}
    posts = Posts(connection, request("POST", MESSAGES, BODY, **shown))
    posts.turn()  # a connection that says nothing for long is closed
    return posts


def new_key(data: Path) -> str:
    """An API key of a project, in a data directory that no server uses yet."""
    data.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "nuska", "key", "create", "--in-store", "--data", str(data)]
    made = subprocess.run(
        [*command, "--project", PROJECT], capture_output=True, text=True, check=True
    )
    return made.stdout.strip()


class Posts:
    """Posts by one way of showing who one is."""

    def __init__(self, connection: Connection, message: bytes) -> None:
        self._connection = connection
        self._message = message
        self.taken: list[float] = []

    def turn(self) -> None:
        for _ in range(_POSTS_A_TURN):
            answer = self._connection.exchange(self._message)
            if answer.status != 201:
                raise Refused(f"post: {answer.status} {answer.body[:500]!r}")
            self.taken.append(answer.seconds)


def _signed(shown: dict[str, Any]) -> bytes:
    return request(
        "POST",
        MESSAGES,
        BODY,
        URL_Signature=shown["signature"],
        URL_Expires=shown["expires"],
        URL_Methods=",".join(shown["methods"]),
        URL_Paths=",".join(shown["paths"]),
    )


def _link(shown: dict[str, Any]) -> str:
    query = {
        "signature": shown["signature"],
        "expires": shown["expires"],
        "methods": ",".join(shown["methods"]),
        "paths": ",".join(shown["paths"]),
        "project_id": PROJECT,
    }
    return f"{MESSAGES}?{'&'.join(f'{name}={value}' for name, value in query.items())}"


def _beside(
    phase: str, name: str, taken: list[float], base: list[float], *, bounded: bool
) -> Figure:
    ours, theirs = statistics.median(taken), statistics.median(base)
    note = f"median {ours * 1000:.2f} ms, beside {theirs * 1000:.2f} ms"
    title = f"post with {name}, beside an open one"
    return Figure(
        phase=phase,
        name=title,
        value=ours / theirs,
        unit="×",
        target=at_most(BOUND) if bounded else None,
        note=note,
    )
