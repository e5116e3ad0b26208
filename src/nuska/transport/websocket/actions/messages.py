"""Actions on messages."""

from functools import partial

from nuska.domain.errors import InvalidInput, NotFound
from nuska.domain.messages import Idempotency
from nuska.transport.websocket.actions.rows import (
    ATTRIBUTES,
    LIMIT,
    MARKER,
    QUEUE,
    WAIT,
    Action,
    Field,
    Kind,
)
from nuska.transport.websocket.call import Call
from nuska.transport.websocket.frames import Reply, packed_size, raw_parts, written
from nuska.transport.wire import messages as wire
from nuska.transport.wire.json import encode

IDEMPOTENCY_KEY = "Idempotency-Key"
MSGPACK_GROWTH = 2
"""How many times its limit a post sent as MessagePack may have as JSON, as on HTTP."""
SMALL = 1024
"""Bytes that no limit on growth is about."""
_POST_BEGINS, _POST_ENDS = b'{"messages":', b"}"
"""A post is as large as the body that would say the same over HTTP."""
_MESSAGE_ID = Field("message_id", Kind.TEXT, required=True)


async def message_post(call: Call) -> Reply:
    service = call.core.messages
    # Posts of one connection are stored in the order in which they were sent, also those that are
    # carried out together: the next one goes on when the store has this one before it.
    async with call.turnstile as handed_over:
        settings = await service.settings(call.caller, call.queue)
        text = written(raw_parts(call.frame).messages)
        _check_size(call, text, settings.max_post_size)
        drafts = wire.decode_posted(text, call.body["messages"])
        added = await service.post(
            call.caller,
            call.queue,
            drafts,
            settings=settings,
            idempotency=_idempotency(call, text),
            handed_over=handed_over,
        )
    return Reply(201, b'{"message_ids": ["' + '", "'.join(added.ids).encode() + b'"]}')


def _check_size(call: Call, text: bytes, highest: int) -> None:
    what = "The request body of a post"
    around = len(_POST_BEGINS) + len(_POST_ENDS)
    size = len(text) + around
    if call.frame.binary:
        if size > MSGPACK_GROWTH * highest + SMALL:
            raise InvalidInput(
                f"{what} is too large: written as JSON, as it is kept, it may have "
                f"{MSGPACK_GROWTH} times the maximum of {highest} bytes."
            )
        size = packed_size({"messages": call.body["messages"]})
    if size > highest:
        raise InvalidInput(f"{what} is too large: the maximum is {highest} bytes.")


def _idempotency(call: Call, text: bytes) -> Idempotency | None:
    key = call.header(IDEMPOTENCY_KEY)
    return None if key is None else wire.idempotency_of(key, _POST_BEGINS + text + _POST_ENDS)


async def message_list(call: Call) -> Reply:
    with call.patience() as patience:
        listing = await call.core.messages.page(
            call.caller,
            call.queue,
            marker=call.text("marker"),
            limit=call.integer("limit"),
            echo=call.flag("echo"),
            include_claimed=call.flag("include_claimed"),
            include_delayed=call.flag("include_delayed"),
            patience=patience,
        )
    await call.check_again()
    items = wire.encode_bare_messages(listing.messages, call.core.clock.now(), call.shown())
    marker = b', "marker": ' + encode(listing.marker) if listing.messages else b""
    return Reply(200, b"".join((b'{"messages": [', items, b"]", marker, b"}")))


async def message_get(call: Call) -> Reply:
    message = await call.core.messages.get(call.caller, call.queue, call.named("message_id"))
    shown = wire.encode_bare_messages([message], call.core.clock.now(), call.shown())
    return Reply(200, b'{"messages": ' + shown + b"}")


async def message_get_many(call: Call) -> Reply:
    ids = call.texts("message_ids") or []
    try:
        found = await call.core.messages.by_ids(call.caller, call.queue, ids)
    except NotFound:
        found = []
    shown = wire.encode_bare_messages(found, call.core.clock.now(), call.shown())
    return Reply(200, b'{"messages": [' + shown + b"]}")


async def message_delete(call: Call) -> Reply:
    claim = call.text("claim_id")
    await call.core.messages.delete(call.caller, call.queue, call.named("message_id"), claim)
    return Reply(204, b"{}")


async def message_delete_many(call: Call) -> Reply:
    ids, count = call.texts("message_ids"), call.integer("pop")
    if (ids is None) == (count is None):
        raise InvalidInput("Name the messages to delete in message_ids, or how many to pop.")
    if count is not None:
        return await _pop(call, count)
    await call.core.messages.delete_many(
        call.caller, call.queue, ids or [], call.texts("claim_ids")
    )
    return Reply(204, b"{}")


async def _pop(call: Call, count: int) -> Reply:
    with call.patience() as patience:
        popped = await call.core.messages.pop(call.caller, call.queue, count, patience=patience)

    if popped:
        call.turn.undo = partial(call.core.messages.undo_pop, call.caller, call.queue, popped)
    await call.check_again()
    now, shown = call.core.clock.now(), call.shown(checksum=True)
    items = b", ".join([wire.encode_popped(message, now, shown) for message in popped])
    return Reply(200, b'{"messages": [' + items + b"]}")


ACTIONS = (
    Action(
        name="message_post",
        handler=message_post,
        fields=(QUEUE, Field("messages", Kind.ARRAY, required=True)),
        twin="postMessages",
        permission="messages:create",
        signed_method="POST",
        checks_client=True,
        joins=True,
    ),
    Action(
        name="message_list",
        handler=message_list,
        fields=(
            QUEUE,
            MARKER,
            LIMIT,
            Field("echo", Kind.BOOLEAN),
            Field("include_claimed", Kind.BOOLEAN),
            Field("include_delayed", Kind.BOOLEAN),
            WAIT,
            ATTRIBUTES,
        ),
        twin="listMessages",
        permission="messages:get_all",
        signed_method="GET",
        checks_client=True,
    ),
    Action(
        name="message_get",
        handler=message_get,
        fields=(QUEUE, _MESSAGE_ID, ATTRIBUTES),
        twin="getMessage",
        permission="messages:get",
        signed_method="GET",
    ),
    Action(
        name="message_get_many",
        handler=message_get_many,
        fields=(QUEUE, Field("message_ids", Kind.TEXTS, required=True), ATTRIBUTES),
        twin="listMessages",
        permission="messages:get_all",
        signed_method="GET",
    ),
    Action(
        name="message_delete",
        handler=message_delete,
        fields=(QUEUE, _MESSAGE_ID, Field("claim_id", Kind.TEXT)),
        twin="deleteMessage",
        permission="messages:delete",
        signed_method="DELETE",
    ),
    Action(
        name="message_delete_many",
        handler=message_delete_many,
        fields=(
            QUEUE,
            Field("message_ids", Kind.TEXTS),
            Field("claim_ids", Kind.TEXTS),
            Field("pop", Kind.INTEGER),
            WAIT,
            ATTRIBUTES,
        ),
        twin="deleteMessages",
        permission="messages:delete_all",
        signed_method="DELETE",
    ),
)
