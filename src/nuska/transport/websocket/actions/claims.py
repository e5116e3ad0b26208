"""Actions on claims."""

from functools import partial

from nuska.core.claims import ClaimTerms
from nuska.transport.websocket.actions.rows import (
    ATTRIBUTES,
    QUEUE,
    WAIT,
    Action,
    Field,
    Kind,
)
from nuska.transport.websocket.call import Call
from nuska.transport.websocket.frames import Reply
from nuska.transport.wire import claims as wire
from nuska.transport.wire.json import encode

_TTL = Field("ttl", Kind.INTEGER, nullable=True)
_GRACE = Field("grace", Kind.INTEGER, nullable=True)
_CLAIM_ID = Field("claim_id", Kind.TEXT, required=True)
_NOTHING = Reply(204, b'{"claim_id": null}')
_NONE = Reply(204, b'{"claims": []}')


async def claim_create(call: Call) -> Reply:
    count = call.integer("claims")
    if count is not None:
        return await _create_together(call, count)
    with call.patience() as patience:
        taken = await call.core.claims.create(
            call.caller, call.queue, _terms(call, call.integer("limit")), patience=patience
        )
    if taken is None:
        return _NOTHING
    call.turn.undo = partial(call.core.claims.undo, call.caller, call.queue, taken.id)
    await call.check_again()
    return Reply(201, wire.encode_bare_taken(taken, call.core.clock.now(), call.shown()))


async def _create_together(call: Call, count: int) -> Reply:
    with call.patience() as patience:
        together = await call.core.claims.create_together(
            call.caller, call.queue, _terms(call, call.integer("limit")), count, patience=patience
        )
    if not together:
        return _NONE
    ids = [taken.id for taken in together]
    call.turn.undo = partial(call.core.claims.undo, call.caller, call.queue, *ids)
    await call.check_again()
    return Reply(201, wire.encode_bare_together(together, call.core.clock.now(), call.shown()))


async def claim_get(call: Call) -> Reply:
    claim = await call.core.claims.get(call.caller, call.queue, call.named("claim_id"))
    return Reply(200, wire.encode_bare_claim(claim, call.core.clock.now(), call.shown()))


async def claim_update(call: Call) -> Reply:
    claim = call.named("claim_id")
    await call.core.claims.renew(call.caller, call.queue, claim, _terms(call, None))
    return Reply(204, encode(f"Claim {claim} updated."))


async def claim_delete(call: Call) -> Reply:
    claim = call.named("claim_id")
    await call.core.claims.release(call.caller, call.queue, claim)
    return Reply(204, encode(f"Claim {claim} deleted."))


def _terms(call: Call, limit: int | None) -> ClaimTerms:
    return ClaimTerms(call.integer("ttl"), call.integer("grace"), limit)


ACTIONS = (
    Action(
        name="claim_create",
        handler=claim_create,
        fields=(
            QUEUE,
            _TTL,
            _GRACE,
            Field("limit", Kind.INTEGER, nullable=True),
            Field("claims", Kind.INTEGER, nullable=True),
            WAIT,
            ATTRIBUTES,
        ),
        twin="createClaim",
        permission="claims:create",
    ),
    Action(
        name="claim_get",
        handler=claim_get,
        fields=(QUEUE, _CLAIM_ID, ATTRIBUTES),
        twin="getClaim",
        permission="claims:get",
    ),
    Action(
        name="claim_update",
        handler=claim_update,
        fields=(QUEUE, _CLAIM_ID, _TTL, _GRACE),
        twin="renewClaim",
        permission="claims:update",
    ),
    Action(
        name="claim_delete",
        handler=claim_delete,
        fields=(QUEUE, _CLAIM_ID),
        twin="releaseClaim",
        permission="claims:delete",
    ),
)
