"""What other services send, recorded as text in ``recorded/``, and the answers they rely on.

A recording is a sequence of exchanges with blank lines between them:

    PUT /v2/queues/jobs           the request line, as it goes out
    Client-ID: 0f8f…              header lines; those of the first block go with every request
    {"team": "billing"}           a body, if there is one
    = 201                         the status that must come
    Location: /v2/queues/jobs     headers that must come, whatever else does
    {"…": …}                      the body that must come, as JSON; none means an empty one

``<name>`` in an answer stands for some text without separators and is remembered: later, in
requests and in answers, it is that text. ``"<int>"`` stands for any integer, ``"<text>"`` for
any string. An object with the key ``"..."`` may have further keys. Lines with ``#`` explain.
"""

import http.client
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from nuska.testing.server_process import ServerProcess

RECORDINGS = sorted((Path(__file__).parent / "recorded").glob("*.txt"))
PLACE = re.compile(r"<([a-z][a-z0-9_]*)>")
HEADER = re.compile(r"^([A-Za-z-]+): (.*)$")
ANSWER_LIMIT = 10.0
"""Seconds for one answer."""


@dataclass
class Exchange:
    line: int
    method: str = ""
    target: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    status: int = 0
    expected_headers: dict[str, str] = field(default_factory=dict)
    expected_body: str = ""


def read(recording: Path) -> tuple[dict[str, str], list[Exchange]]:
    """The common headers and the exchanges of a recording."""
    common: dict[str, str] = {}
    exchanges: list[Exchange] = []
    current: Exchange | None = None
    for number, line in enumerate(recording.read_text("utf-8").splitlines(), start=1):
        header = HEADER.match(line)
        if line.startswith("#"):
            continue
        if not line:
            current = None
        elif current is None and header:
            common[header[1]] = header[2]
        elif current is None:
            method, target = line.split(" ", 1)
            current = Exchange(number, method, target)
            exchanges.append(current)
        elif line.startswith("= "):
            current.status = int(line[2:])
        elif header:
            (current.expected_headers if current.status else current.headers)[header[1]] = header[2]
        elif current.status:
            current.expected_body += line
        else:
            current.body += line
    return common, exchanges


class Memory(dict[str, str]):
    """What the places in a recording turned out to be."""

    def fill(self, text: str) -> str:
        return PLACE.sub(lambda place: self[place[1]], text)

    def match(self, expected: object, got: object) -> bool:
        """Whether ``got`` is what was expected; remembers what it stands for."""
        match expected:
            case "<int>":
                return isinstance(got, int) and not isinstance(got, bool)
            case "<text>":
                return isinstance(got, str)
            case str():
                return isinstance(got, str) and self._match_text(expected, got)
            case dict():
                known = expected.keys() - {"..."}
                return (
                    isinstance(got, dict)
                    and known <= got.keys()
                    and ("..." in expected or known == got.keys())
                    and all(self.match(expected[key], got[key]) for key in expected if key in known)
                )
            case list():
                return (
                    isinstance(got, list)
                    and len(got) == len(expected)
                    and all(map(self.match, expected, got))
                )
            case _:
                return type(expected) is type(got) and expected == got

    def _match_text(self, expected: str, got: str) -> bool:
        pattern = ""
        end = 0
        for place in PLACE.finditer(expected):
            known = self.get(place[1])
            some = rf"(?P<{place[1]}>[^/?&=,]+)" if known is None else re.escape(known)
            pattern += re.escape(expected[end : place.start()]) + some
            end = place.end()
        found = re.fullmatch(pattern + re.escape(expected[end:]), got)
        if found is None:
            return False
        self.update(found.groupdict())
        return True


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.stem)
def test_a_recorded_sequence_gets_the_answers_its_client_relies_on(
    recording: Path, server: ServerProcess
) -> None:
    common, exchanges = read(recording)
    assert exchanges
    memory = Memory()
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=ANSWER_LIMIT)
    for exchange in exchanges:
        connection.request(
            exchange.method,
            memory.fill(exchange.target),
            body=memory.fill(exchange.body).encode() or None,
            headers={
                name: memory.fill(value) for name, value in (common | exchange.headers).items()
            },
        )
        answer = connection.getresponse()
        body = answer.read().decode("utf-8")
        where = f"{recording.name}:{exchange.line}: {exchange.method} {exchange.target}"
        assert answer.status == exchange.status, f"{where}: {answer.status} {body}"
        for name, value in exchange.expected_headers.items():
            got = answer.getheader(name)
            assert memory.match(value, got), f"{where}: {name} is {got}, not {value}"
        if exchange.expected_body:
            expected = json.loads(exchange.expected_body)
            assert memory.match(expected, json.loads(body)), f"{where}: {body}"
        else:
            assert body == "", where
    connection.close()


def test_no_client_of_the_contract_is_without_a_recording() -> None:
    assert {recording.stem for recording in RECORDINGS} == {
        "aodh",
        "heat",
        "horizon",
        "os-collect-config",
        "senlin",
        "signed-urls",
        "tempest-claims",
        "tempest-messages",
        "tempest-queues",
        "tempest-subscriptions",
    }
