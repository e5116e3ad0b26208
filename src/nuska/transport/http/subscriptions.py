"""Handlers for subscriptions of queues and topics: decode, call, encode."""

from falcon.asgi import Response

from nuska.core import Core
from nuska.core.subscriptions import SubscriptionService
from nuska.domain.errors import NotAllowed, NotFound
from nuska.domain.limits import MAX_SUBSCRIBER, MAX_SUBSCRIPTION_OPTIONS
from nuska.transport.http.credentials import proofs_of
from nuska.transport.http.refusals import no_such_route
from nuska.transport.http.request import ApiRequest
from nuska.transport.wire import subscriptions as wire
from nuska.transport.wire.paging import NO_LINKS, next_link

MAX_SUBSCRIPTION_BODY = 2 * MAX_SUBSCRIPTION_OPTIONS + 4 * MAX_SUBSCRIBER
"""Bytes; JSON may be written with blanks and escapes."""
WHAT = "The request body of a subscription"


async def post_subscription(core: Core, req: ApiRequest, resp: Response) -> None:
    draft = wire.decode_draft(await req.read(MAX_SUBSCRIPTION_BODY, WHAT))
    resp.set_header("location", _collection(req))  # also of a refused duplicate
    made = await _service(core, req).create(
        req.caller, req.queue, draft, token=proofs_of(req).token
    )
    resp.status = 201
    resp.data = wire.encode_created(made)


async def list_subscriptions(core: Core, req: ApiRequest, resp: Response) -> None:
    asked = req.asked
    page = await _service(core, req).page(
        req.caller, req.queue, after=asked.text("marker"), limit=asked.integer("limit")
    )
    links = next_link(_collection(req), asked.repeated(), page[-1].id) if page else NO_LINKS
    waiting = core.confirmations.waiting
    resp.data = wire.encode_subscriptions(page, links, waiting, core.clock.now())


async def get_subscription(core: Core, req: ApiRequest, resp: Response) -> None:
    found = await _service(core, req).get(req.caller, req.queue, _id(req))
    resp.data = wire.encode_subscription(found, core.confirmations.waiting, core.clock.now())


async def patch_subscription(core: Core, req: ApiRequest, resp: Response) -> None:
    change = wire.decode_change(await req.read(MAX_SUBSCRIPTION_BODY, WHAT))
    await _service(core, req).update(
        req.caller, req.queue, _id(req), change, token=proofs_of(req).token
    )
    resp.status = 204
    resp.set_header("location", f"{_collection(req)}/{_id(req)}")


async def delete_subscription(core: Core, req: ApiRequest, resp: Response) -> None:
    await _service(core, req).delete(req.caller, req.queue, _id(req))
    resp.status = 204


async def confirm_subscription(core: Core, req: ApiRequest, resp: Response) -> None:
    confirmed = wire.decode_answer(await req.read(MAX_SUBSCRIPTION_BODY, WHAT))
    letter = None if req.signed is None else core.desk.letter(req.signed, path=req.path)
    try:
        await _service(core, req).confirm(
            req.caller, req.queue, _id(req), confirmed=confirmed, letter=letter
        )
    except (NotAllowed, NotFound):
        if req.signed is None:
            raise
        raise no_such_route() from None  # like everything that is wrong with what is signed
    resp.status = 204
    resp.set_header("location", f"{_collection(req)}/{_id(req)}/confirm")


def _service(core: Core, req: ApiRequest) -> SubscriptionService:
    return core.topic_subscriptions if req.is_topic else core.subscriptions


def _collection(req: ApiRequest) -> str:
    return f"{req.base}/subscriptions"


def _id(req: ApiRequest) -> str:
    return req.path_fields["subscriptions_id"]
