"""The body of an answer in the format that its reader wants.

A page of large messages takes long to encode anew, so it is done piece by piece, and other
requests get their turns in between.
"""

import asyncio

from falcon.asgi import Response

from nuska.transport.http.request import ApiRequest
from nuska.transport.wire import msgpack

BYTES_PER_TURN = 65_536


async def put_in_format(req: ApiRequest, resp: Response) -> None:
    """Turn the JSON of ``resp`` into MessagePack if ``req`` wants that; once.

    Whoever must not be interrupted between a check and the answer calls this before it.
    """
    if not req.wants_msgpack or not resp.data or resp.content_type == msgpack.CONTENT_TYPE:
        return
    pieces, since_turn = [], 0
    for piece in msgpack.pieces_from_json(resp.data):
        pieces.append(piece)
        since_turn += len(piece)
        if since_turn > BYTES_PER_TURN:
            await asyncio.sleep(0)
            since_turn = 0
    resp.data = b"".join(pieces)
    resp.content_type = msgpack.CONTENT_TYPE
