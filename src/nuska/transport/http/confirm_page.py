"""The page at which a person who was sent a mail says whether he wants more of it.

Looking changes nothing, so that programs which open links in mail confirm nothing: only the
button does. The page is one document that loads nothing and can be framed by nobody, and every
link that does not verify, for whatever reason, leads to the same few words.
"""

import base64
import re
from hashlib import sha256
from html import escape
from urllib.parse import parse_qs

from falcon.asgi import Response
from msgspec import Struct

from nuska.core import Core
from nuska.core.subscriptions import SubscriptionService
from nuska.domain.errors import NotFound
from nuska.domain.letters import is_for
from nuska.domain.moments import Moment
from nuska.domain.signing import SignedTerms
from nuska.interfaces.identity import Caller
from nuska.transport.http.query import Kind, Parameter
from nuska.transport.http.request import ApiRequest

MAX_ANSWER = 1024
"""Bytes of a form with one button."""
MAX_FIELDS = 4
ANSWER = "answer"
ONE_CLICK = ("List-Unsubscribe", "One-Click")
"""What a mail program posts for a person who wants no more of it (RFC 8058)."""

LINK = tuple(
    Parameter(name, Kind.TEXT, "Of the link in the mail.")
    for name in ("Signature", "Methods", "Paths", "Project", "Expires")
)
_METHOD = "PUT"
_PATH = re.compile(
    r"/v2/(queues|topics)/([A-Za-z0-9_.-]{1,64})/subscriptions/([0-9a-f]{24})/confirm"
)

STYLE = (
    "body{font:18px/1.5 system-ui,sans-serif;max-width:34em;margin:4em auto;padding:0 1em}"
    "button{font:inherit;padding:.4em 1em;margin-right:1em}"
)
_STYLE_HASH = base64.b64encode(sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "x-robots-tag": "noindex",
    # The link is a key: it is sent nowhere else. Not "no-referrer": then a browser does not say
    # where a form comes from, and the answer would be refused.
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}


class Invitation(Struct, frozen=True):
    """What a link that verifies is about."""

    service: SubscriptionService
    caller: Caller
    queue: str
    subscription_id: str
    ends: Moment
    """Of the letter that the link came in."""


async def show(core: Core, req: ApiRequest, resp: Response) -> None:
    invitation = _verified(core, req)
    if invitation is None:
        _not_good(resp)
        return
    try:
        found = await invitation.service.get(
            invitation.caller, invitation.queue, invitation.subscription_id
        )
    except NotFound:
        _not_good(resp)
        return
    if not is_for(found, invitation.ends):
        _not_good(resp)
        return
    _write(
        resp,
        200,
        "Do you want these messages?",
        f"<p>Somebody asked to have messages posted to <b>{escape(invitation.queue)}</b> sent to "
        f"<b>{escape(found.subscriber)}</b>.</p>"
        f'<form method="post"><button name="{ANSWER}" value="yes">Yes, send them</button>'
        f'<button name="{ANSWER}" value="no">No</button></form>',
    )


async def answer(core: Core, req: ApiRequest, resp: Response) -> None:
    invitation = _verified(core, req)
    wanted = _wanted(await req.read(MAX_ANSWER, "The answer"))
    if invitation is None or wanted is None:
        _not_good(resp)
        return
    try:
        await invitation.service.confirm(
            invitation.caller,
            invitation.queue,
            invitation.subscription_id,
            confirmed=wanted,
            letter=invitation.ends,
        )
    except NotFound:
        _not_good(resp)
        return
    if wanted:
        _write(resp, 200, "You will get these messages.", "<p>You can close this page.</p>")
    else:
        _write(resp, 200, "You will not get these messages.", "<p>You can close this page.</p>")


def _verified(core: Core, req: ApiRequest) -> Invitation | None:
    """What the link invites to; None unless the service has made it and it is still good."""
    asked = req.asked
    path = asked.text("Paths") or ""
    terms = SignedTerms(
        paths=(path,),
        methods=((asked.text("Methods") or ""),),
        project=asked.text("Project"),
        expires=asked.text("Expires") or "",
        signature=asked.text("Signature") or "",
    )
    found = _PATH.fullmatch(path)
    admitted = core.desk.look_at(terms, method=_METHOD, path=path)
    if found is None or admitted is None or admitted.kept_as:
        return None
    ends = core.desk.letter(terms, path=path)
    if ends is None:
        return None
    service = core.topic_subscriptions if found[1] == "topics" else core.subscriptions
    # The page shows what is asked about, which the signature alone does not allow.
    return Invitation(service, Caller(terms.project or ""), found[2], found[3], ends)


def _wanted(body: bytes) -> bool | None:
    """What the form says; None when it says nothing."""
    try:
        form = parse_qs(body.decode("latin-1"), max_num_fields=MAX_FIELDS)
    except ValueError:
        return None
    if form.get(ONE_CLICK[0]) == [ONE_CLICK[1]] or form.get(ANSWER) == ["no"]:
        return False
    return True if form.get(ANSWER) == ["yes"] else None


def _not_good(resp: Response) -> None:
    _write(
        resp,
        404,
        "This link is not good any more.",
        "<p>It has expired, or what it was for is gone.</p>",
    )


def _write(resp: Response, status: int, title: str, content: str) -> None:
    resp.status = status
    resp.content_type = "text/html; charset=utf-8"
    resp.set_headers(HEADERS)
    resp.data = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><h1>{escape(title)}</h1>{content}</body></html>"
    ).encode()
