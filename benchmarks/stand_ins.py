"""Stands in for whoever says who is calling, where only what the server remembers is measured: a
Keystone that takes every token, and an issuer that publishes one key. Neither is measured.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from joserfc import jwt
from joserfc.jwk import ECKey

from benchmarks.wire import PROJECT

AUDIENCE = "nuska"
LIFE = 86_400
"""Seconds."""


@contextmanager
def keystone() -> Iterator[str]:
    """The URL of one whose every token is a member's of the project."""
    ends = datetime.now(UTC) + timedelta(seconds=LIFE)
    named = {"id": PROJECT, "name": PROJECT}
    token = {
        "expires_at": ends.strftime("%Y-%m-%dT%H:%M:%S.000000Z"),
        "user": {"id": "ann", "name": "ann"},
        "project": named,
        "roles": [{"id": "1", "name": "member"}],
    }
    with _serving(json.dumps({"token": token}).encode()) as url:
        yield url


@contextmanager
def issuer() -> Iterator[tuple[str, str]]:
    """The URL of one, and a token of it."""
    key = ECKey.generate_key("P-256", {"kid": "1", "use": "sig"}, private=True)
    published = json.dumps({"keys": [key.as_dict(private=False)]}).encode()
    with _serving(published) as url:
        claims = {
            "iss": url,
            "aud": AUDIENCE,
            "sub": "ann",
            "exp": int(time.time()) + LIFE,
            "project_id": PROJECT,
            "roles": ["member"],
        }
        yield url, jwt.encode({"alg": "ES256", "kid": "1"}, claims, key, algorithms=["ES256"])


@contextmanager
def _serving(document: bytes) -> Iterator[str]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._say(200)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._say(201)

        def _say(self, status: int) -> None:
            self.send_response(status)
            self.send_header("X-Subject-Token", "the-service's-own")
            self.send_header("Content-Length", str(len(document)))
            self.end_headers()
            self.wfile.write(document)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()
