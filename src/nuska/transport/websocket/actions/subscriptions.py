"""Actions on subscriptions."""

from nuska.core.subscriptions import SubscriptionDraft
from nuska.domain.errors import Conflict, InvalidInput
from nuska.transport.websocket.actions.rows import LIMIT, MARKER, QUEUE, Action, Field, Kind
from nuska.transport.websocket.call import Call
from nuska.transport.websocket.frames import Reply, raw_parts, written
from nuska.transport.wire import json
from nuska.transport.wire.json import encode
from nuska.transport.wire.subscriptions import shown_as

_SUBSCRIPTION_ID = Field("subscription_id", Kind.TEXT, required=True)


async def subscription_create(call: Call) -> Reply:
    if call.body.get("subscriber") is None:
        raise InvalidInput("The body has no subscriber.")
    options = call.body.get("options")
    if isinstance(options, dict):
        json.check_depth(written(raw_parts(call.frame).options), options)
    draft = SubscriptionDraft(
        subscriber=call.named("subscriber"),
        ttl=call.integer("ttl"),
        options=options if isinstance(options, dict) else None,
    )
    try:
        made = await call.core.subscriptions.create(call.caller, call.queue, draft, again=False)
    except Conflict:
        return Reply(409, encode(f"Subscription {call.queue} not created."))
    return Reply(
        201,
        encode({"subscription_id": made.id, "message": f"Subscription {call.queue} created."}),
    )


async def subscription_list(call: Call) -> Reply:
    page = await call.core.subscriptions.page(
        call.caller, call.queue, after=call.text("marker"), limit=call.integer("limit")
    )
    now, waiting = call.core.clock.now(), call.core.confirmations.waiting
    body: dict[str, object] = {"subscriptions": [shown_as(found, waiting, now) for found in page]}
    if page:
        body["marker"] = page[-1].id
    return Reply(200, encode(body))


async def subscription_get(call: Call) -> Reply:
    id_ = call.named("subscription_id")
    found = await call.core.subscriptions.get(call.caller, call.queue, id_)
    waiting = call.core.confirmations.waiting
    return Reply(200, encode(shown_as(found, waiting, call.core.clock.now())))


async def subscription_delete(call: Call) -> Reply:
    id_ = call.named("subscription_id")
    await call.core.subscriptions.delete(call.caller, call.queue, id_)
    return Reply(204, encode(f"Subscription {id_} removed."))


ACTIONS = (
    Action(
        name="subscription_create",
        handler=subscription_create,
        fields=(
            QUEUE,
            Field("subscriber", Kind.TEXT, nullable=True),
            Field("ttl", Kind.INTEGER),
            Field("options", Kind.OBJECT, nullable=True),
        ),
        twin="createSubscription",
        permission="subscription:create",
    ),
    Action(
        name="subscription_list",
        handler=subscription_list,
        fields=(QUEUE, MARKER, LIMIT),
        twin="listSubscriptions",
        permission="subscription:get_all",
    ),
    Action(
        name="subscription_get",
        handler=subscription_get,
        fields=(QUEUE, _SUBSCRIPTION_ID),
        twin="getSubscription",
        permission="subscription:get",
    ),
    Action(
        name="subscription_delete",
        handler=subscription_delete,
        fields=(QUEUE, _SUBSCRIPTION_ID),
        twin="deleteSubscription",
        permission="subscription:delete",
    ),
)
