"""The handler for event streams: what is asked, then an answer that does not end."""

from falcon.asgi import Response

from nuska.core import Core
from nuska.core.access import allow
from nuska.domain.errors import (
    InvalidInput,
    InvalidParameter,
    NotAllowed,
    NotAuthenticated,
    Unavailable,
)
from nuska.domain.filters import MAX_FILTER, Filter, parse_filter
from nuska.domain.markers import Marker, parse_live_marker
from nuska.transport.http.credentials import proofs_of
from nuska.transport.http.event_stream import EventStream, StillGood
from nuska.transport.http.request import ApiRequest
from nuska.transport.wire.events import CONTENT_TYPE
from nuska.transport.wire.json import decode_document

LISTEN = "messages:get_all"
"""The permission by which a client is told, for as long as it is."""
LAST_EVENT_ID = b"last-event-id"
MOST_PER_ESCAPE = 3
"""How much longer a filter may be in a query than it is."""


async def stream_messages(core: Core, req: ApiRequest, resp: Response) -> None:
    caller, queue = req.caller, req.place
    assert queue is not None, "every path of a stream names a queue or a topic"
    after, wanted = _after(req), _filter(req)
    bounds, live = core.live.bounds, core.live
    stream = EventStream(
        queue,
        core.clock,
        live.random_bytes,
        attributes=req.asked.boolean("attributes"),
        most=bounds.stream_unsent,
        heartbeat=bounds.stream_heartbeat,
        until_gone=req.until_gone,
        still_good=_still_good(core, req),
    )
    client = req.scope.get("client")
    listening = await live.listen(
        caller.project,
        (queue,),
        stream,
        after=None if after is None else {queue: after},
        wanted=wanted,
        address=client[0] if client else None,
    )
    stream.begin(listening)
    resp.content_type = CONTENT_TYPE
    resp.set_header("cache-control", "no-store")
    resp.set_header("x-accel-buffering", "no")  # a proxy in between must not save it up
    resp.stream = stream


def _after(req: ApiRequest) -> Marker | None:
    """Where the client left off: what its browser adds when it comes back is newer than what
    stands in the address."""
    header = req.header(LAST_EVENT_ID)
    asked = req.asked
    text = None if header is None else header.decode("latin-1")
    text = text or asked.text("last_event_id") or asked.text("marker")
    if not text:
        return None
    marker = parse_live_marker(text)
    if marker is None:
        raise InvalidParameter(
            "The marker must be the id of an event, a marker of a listing, or a message's id."
        )
    return marker


def _filter(req: ApiRequest) -> Filter | None:
    text = req.asked.text("filter")
    if text is None:
        return None
    data = text.encode()
    if len(data) > MAX_FILTER * MOST_PER_ESCAPE:
        raise InvalidInput(f"The filter is too large: {MAX_FILTER} bytes is the limit.")
    return parse_filter(decode_document(data))


def _still_good(core: Core, req: ApiRequest) -> StillGood:
    """Asked now and then: what the caller has shown may end, be revoked, or be good for less."""
    caller, grant, place = req.caller, req.caller.grant, req.place
    watch = None
    if grant is None and req.identity is not None and req.verified is not None:
        watch = req.identity.watch(proofs_of(req), req.verified)

    async def still_good() -> bool | None:
        try:
            if caller.expires_at is not None and core.clock.now() >= caller.expires_at:
                return False
            if grant is not None:
                return await core.desk.is_still_good(
                    caller.project, grant
                ) and await core.keys.is_still_good(grant)
            if watch is None:
                return True
            verified = watch.look()
            if verified is None or verified.project != caller.project:
                return None if verified is None else False
            allow(core.access.caller(verified, caller.project, b""), LISTEN, place)
        except Unavailable:
            return None
        except (NotAllowed, NotAuthenticated):
            return False
        return True

    return still_good
