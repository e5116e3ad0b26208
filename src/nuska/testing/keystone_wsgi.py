"""Serves Keystone on a port of 127.0.0.1: ``python keystone_wsgi.py PORT``.

Run by the Python that Keystone is installed for, as a file: nothing of Nuska is there. A thread
for each connection, as tests need no more.
"""

import sys
from importlib import import_module
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server


class Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128


class Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing: Keystone itself says enough."""

    def address_string(self) -> str:
        return str(self.client_address[0])


def main() -> None:
    port = int(sys.argv.pop())  # Keystone would take it for an option of its own
    application = import_module("keystone.server.wsgi").initialize_public_application()
    with make_server(
        "127.0.0.1", port, application, server_class=Threads, handler_class=Silent
    ) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
