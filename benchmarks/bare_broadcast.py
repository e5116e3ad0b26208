"""The yardstick of pushes: the ``websockets`` library's own broadcast, and nothing else.

Whoever sends it a message has that message sent to everybody who is connected. No store, no
subscriptions, no checks: what Nuska's push costs beyond this is Nuska's.
"""

import argparse
import asyncio
import signal

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory


async def run(port: int, *, deflate: bool) -> None:
    """Serve until SIGTERM."""
    connected: set[ServerConnection] = set()

    async def handle(connection: ServerConnection) -> None:
        connected.add(connection)
        try:
            async for message in connection:
                broadcast(connected, message)
        finally:
            connected.discard(connection)

    # As Nuska compresses: small windows, and nothing kept from one message to the next.
    extensions = [
        ServerPerMessageDeflateFactory(
            server_no_context_takeover=True,
            client_no_context_takeover=True,
            server_max_window_bits=12,
            compress_settings={"memLevel": 5},
        )
    ]
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    async with serve(
        handle,
        "127.0.0.1",
        port,
        compression=None,
        extensions=extensions if deflate else None,
        ping_interval=None,
        backlog=2048,
    ):
        await over.wait()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--deflate", action="store_true")
    given = options.parse_args()
    uvloop.run(run(given.port, deflate=given.deflate))


if __name__ == "__main__":
    main()
