"""Actions on subscriptions."""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from nuska.core.connected import DETAILED_KEY, SINCE_KEY, Connected, ConnectionDraft
from nuska.core.subscription_making import SubscriptionDraft
from nuska.domain.errors import Conflict, InvalidInput
from nuska.domain.internal import topic
from nuska.domain.messages import QueueRef
from nuska.domain.subscriptions import Options
from nuska.transport.websocket.actions.rows import (
    LIMIT,
    MARKER,
    QUEUE,
    QUEUES,
    TOPIC,
    Action,
    Field,
    Kind,
)
from nuska.transport.websocket.call import Call
from nuska.transport.websocket.frames import Reply, raw_parts, written
from nuska.transport.websocket.listener import Listener
from nuska.transport.wire import json
from nuska.transport.wire.callers import check_queue
from nuska.transport.wire.json import encode
from nuska.transport.wire.subscriptions import shown_as

Place: TypeAlias = Callable[[str, str], QueueRef]
"""What a project and a name mean: a queue, or a topic."""
_SUBSCRIPTION_ID = Field("subscription_id", Kind.TEXT, required=True)


async def subscription_create(call: Call) -> Reply:
    """Of somebody else, or, when nobody is named, of this connection."""
    options = call.body.get("options")
    if isinstance(options, dict):
        json.check_depth(written(raw_parts(call.frame).options), options)
    if call.body.get("subscriber") is None:
        return await _connect(call, options if isinstance(options, dict) else {})
    if not call.queue:
        raise InvalidInput(
            "Only a connection can be subscribed to several queues at once, or to a topic."
        )
    draft = SubscriptionDraft(
        subscriber=call.named("subscriber"),
        ttl=call.integer("ttl"),
        options=options if isinstance(options, dict) else None,
    )
    try:
        made = await call.core.subscriptions.create(
            call.caller, call.queue, draft, again=False, token=call.session.standing.token
        )
    except Conflict:
        return Reply(409, encode(f"Subscription {call.queue} not created."))
    return Reply(
        201,
        encode({"subscription_id": made.id, "message": f"Subscription {call.queue} created."}),
    )


async def _connect(call: Call, options: Options) -> Reply:
    session = call.session
    place, names = _places(call)
    project = place(call.caller.project, names[0]).project
    what = ", ".join(names)
    try:
        session.reserve(project, names)
    except Conflict:
        return Reply(409, encode(f"Subscription {what} not created."))
    listener = Listener(
        session, detailed=options.get(DETAILED_KEY) is True, resumes=SINCE_KEY in options
    )
    try:
        listener.connected = connected = await _listen(call, place, names, options, listener)
    except BaseException:
        session.unreserve(project, names)
        raise
    session.subscribed(listener, binary=call.frame.binary)
    call.turn.afterwards = partial(session.begin, listener)
    markers = connected.markers
    body: dict[str, object] = {
        "subscription_id": connected.id,
        "message": f"Subscription {what} created.",
    }
    several = call.texts(QUEUES.name) is not None
    body |= {"markers": markers} if several else {"marker": markers[what]}
    return Reply(201, encode(body))


async def _listen(
    call: Call, place: Place, names: tuple[str, ...], options: Options, listener: Listener
) -> Connected:
    def ended() -> None:
        if listener.connected is not None:
            call.session.forget(listener.connected.id)

    draft = ConnectionDraft(
        connection=call.session.name,
        queues=names,
        place=place,
        ttl=call.integer("ttl"),
        options=options,
        ended=ended,
    )
    return await call.core.connected.create(call.caller, draft, listener)


def _places(call: Call) -> tuple[Place, tuple[str, ...]]:
    several, published = call.texts(QUEUES.name), call.text(TOPIC.name)
    if (several is not None) + (published is not None) + bool(call.queue) != 1:
        raise InvalidInput(
            "Name the queue in queue_name, several in queue_names, or a topic in topic_name."
        )
    if published is not None:
        return topic, (published,)
    if several is None:
        return QueueRef, (call.queue,)
    names = tuple(dict.fromkeys(several))
    if not names:
        raise InvalidInput("queue_names must name at least one queue.")
    for name in names:
        check_queue(name, call.caller.project)
    return QueueRef, names


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
            Field("queue_name", Kind.TEXT),
            QUEUES,
            TOPIC,
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
