"""Handlers for claims: decode, call, encode."""

from functools import partial

from falcon.asgi import Response

from nuska.core import Core
from nuska.core.undoing import carried_out, undone_on_failure
from nuska.transport.http.answers import put_in_format
from nuska.transport.http.messages import shown_to
from nuska.transport.http.polling import LongPoll
from nuska.transport.http.request import ApiRequest
from nuska.transport.wire import claims as wire

MAX_CLAIM_BODY = 65_536
"""Bytes; ttl and grace need 40, but clients send whatever they know about a claim (K7)."""
_BODY = "The request body of a claim"


async def post_claim(core: Core, req: ApiRequest, resp: Response) -> None:
    data = await req.read(MAX_CLAIM_BODY, _BODY)
    terms = wire.decode_terms(
        data,
        limit=req.asked.integer("limit"),
        highest=core.limits.max_messages_per_claim_or_pop,
    )
    with LongPoll(req, core, "claims:create") as poll:
        taken = await core.claims.create(req.caller, req.queue, terms, patience=poll.patience)
        if taken is None:
            resp.status = 204
            return
        undo = partial(core.claims.undo, req.caller, req.queue, taken.id)
        async with undone_on_failure(undo):
            await poll.check_again()
            resp.status = 201
            resp.set_header("location", wire.location_of(req.base, taken.id))
            resp.data = wire.encode_taken(taken, req.base, core.clock.now(), shown_to(req, core))
            await put_in_format(req, resp)
            lost = await poll.lost_client()
        if lost:
            await carried_out(undo)


async def get_claim(core: Core, req: ApiRequest, resp: Response) -> None:
    claim = await core.claims.get(req.caller, req.queue, req.path_fields["claim_id"])
    resp.data = wire.encode_claim(claim, req.base, core.clock.now(), shown_to(req, core))


async def patch_claim(core: Core, req: ApiRequest, resp: Response) -> None:
    terms = wire.decode_renewal(await req.read(MAX_CLAIM_BODY, _BODY))
    await core.claims.renew(req.caller, req.queue, req.path_fields["claim_id"], terms)
    resp.status = 204


async def delete_claim(core: Core, req: ApiRequest, resp: Response) -> None:
    await core.claims.release(req.caller, req.queue, req.path_fields["claim_id"])
    resp.status = 204
