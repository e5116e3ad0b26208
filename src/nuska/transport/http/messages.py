"""Handlers for messages of queues and topics: decode, call, encode."""

from falcon.asgi import Response

from nuska.core import Core
from nuska.core.messages import MessageService
from nuska.core.undoing import carried_out, undone_on_failure
from nuska.domain.errors import InvalidBody, InvalidInput
from nuska.transport.http.answers import put_in_format
from nuska.transport.http.polling import LongPoll
from nuska.transport.http.request import ApiRequest
from nuska.transport.wire import messages as wire
from nuska.transport.wire.paging import NO_LINKS, next_link

IDEMPOTENCY_HEADER = b"idempotency-key"


async def post_messages(core: Core, req: ApiRequest, resp: Response) -> None:
    caller, name, service = req.caller, req.queue, messages_at(core, req)
    settings = await service.settings(caller, name)
    data = await req.read(settings.max_post_size, "The request body of a post")
    if not data:
        raise InvalidBody("The request body can not be empty.")
    drafts = wire.decode_post(data)
    key = req.header(IDEMPOTENCY_HEADER)
    idempotency = None if key is None else wire.idempotency_of(key.decode("latin-1"), data)
    added = await service.post(caller, name, drafts, settings=settings, idempotency=idempotency)
    resp.status = 201
    resp.set_header("location", wire.location_of_posted(req.base, added.ids))
    resp.data = wire.encode_posted(req.base, added.ids)


async def get_messages(core: Core, req: ApiRequest, resp: Response) -> None:
    ids = req.asked.items_of("ids")
    if ids:
        await _get_by_ids(core, req, resp, ids)
    else:
        await _list(core, req, resp)


async def _get_by_ids(core: Core, req: ApiRequest, resp: Response, ids: list[str]) -> None:
    found = await messages_at(core, req).by_ids(req.caller, req.queue, ids)
    shown = wire.encode_messages(found, req.base, core.clock.now(), shown_to(req, core))
    resp.data = b'{"messages": [' + shown + b"]}"


async def _list(core: Core, req: ApiRequest, resp: Response) -> None:
    asked = req.asked
    with LongPoll(req, core, "messages:get_all") as poll:
        listing = await messages_at(core, req).page(
            req.caller,
            req.queue,
            marker=asked.text("marker"),
            limit=asked.integer("limit"),
            echo=asked.boolean("echo"),
            include_claimed=asked.boolean("include_claimed"),
            include_delayed=asked.boolean("include_delayed"),
            patience=poll.patience,
        )
        await poll.check_again()
    links = NO_LINKS
    if listing.messages:
        again = asked.repeated()
        if listing.shows_delayed:
            again["include_delayed"] = "true"
        links = next_link(f"{req.base}/messages", again, listing.marker)
    shown = wire.encode_messages(listing.messages, req.base, core.clock.now(), shown_to(req, core))
    resp.data = b"".join((b'{"messages": [', shown, b"], ", links, b"}"))


async def get_message(core: Core, req: ApiRequest, resp: Response) -> None:
    message = await messages_at(core, req).get(req.caller, req.queue, req.path_fields["message_id"])
    resp.data = wire.encode_message(message, req.base, core.clock.now(), shown_to(req, core))


async def delete_message(core: Core, req: ApiRequest, resp: Response) -> None:
    await messages_at(core, req).delete(
        req.caller, req.queue, req.path_fields["message_id"], req.asked.text("claim_id")
    )
    resp.status = 204


async def delete_messages(core: Core, req: ApiRequest, resp: Response) -> None:
    ids, count = req.asked.items_of("ids"), req.asked.integer("pop")
    if bool(ids) == (count is not None):
        raise InvalidInput("Name the messages to delete in ids, or how many to take in pop.")
    if count is not None:
        await _pop(core, req, resp, count)
        return
    claim_ids = req.asked.items_of("claim_ids")
    await messages_at(core, req).delete_many(req.caller, req.queue, ids, claim_ids)
    resp.status = 204


async def _pop(core: Core, req: ApiRequest, resp: Response, count: int) -> None:
    service = messages_at(core, req)
    with LongPoll(req, core, "messages:delete_all") as poll:
        popped = await service.pop(req.caller, req.queue, count, patience=poll.patience)

        async def undo() -> None:
            if popped:
                await service.undo_pop(req.caller, req.queue, popped)

        async with undone_on_failure(undo):
            await poll.check_again()
            now, shown = core.clock.now(), shown_to(req, core)
            items = b", ".join([wire.encode_popped(message, now, shown) for message in popped])
            resp.data = b'{"messages": [' + items + b"]}"
            await put_in_format(req, resp)
            lost = bool(popped) and await poll.lost_client()
        if lost:
            await carried_out(undo)


def messages_at(core: Core, req: ApiRequest) -> MessageService:
    """Those of queues or those of topics, as the path says."""
    return core.topic_messages if req.is_topic else core.messages


def shown_to(req: ApiRequest, core: Core) -> wire.Shown:
    """What this reader sees besides the fields that everybody sees."""
    attributes = req.asked.boolean("attributes")
    if attributes or core.limits.enable_checksum:
        return wire.Shown(attributes, core.limits.enable_checksum)
    return wire.PLAIN
