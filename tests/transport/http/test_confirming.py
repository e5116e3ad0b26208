"""Answers by subscribers, who have nothing but what they were sent (contract signed-urls §5)."""

import random
import re
from urllib.parse import urlencode, urlsplit

import pytest

from nuska.core import Core, build_core
from nuska.core.confirmations import ConfirmationRules
from nuska.core.subscription_making import SubscriptionDraft
from nuska.core.subscriptions import SubscriptionChange
from nuska.domain.moments import seconds
from nuska.domain.signing import Signer
from nuska.domain.subscriptions import Subscription
from nuska.identity.none import NoAuthentication
from nuska.interfaces.identity import Caller
from nuska.stores.memory import MemoryStore
from nuska.testing.asgi import AsgiDriver
from nuska.testing.clock import ManualClock
from nuska.transport.http import build_app

ACME = Caller("acme")
CLIENT = "0f8fad5b-d9cb-469f-a165-70867728950e"
SIGNER = Signer("a key for tests")
RULES = ConfirmationRules(signer=SIGNER, public_url="https://mq.example.net")
FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}


@pytest.fixture
def core(store: MemoryStore, clock: ManualClock) -> Core:
    chance = random.Random(3).randbytes
    return build_core(store=store, clock=clock, random_bytes=chance, confirmation=RULES)


@pytest.fixture
def anybody(core: Core) -> AsgiDriver:
    return AsgiDriver(build_app(core, NoAuthentication()))


@pytest.fixture
async def subscription(core: Core) -> Subscription:
    draft = SubscriptionDraft(subscriber="mailto:ann@example.org?subject=<b>")
    return await core.subscriptions.create(ACME, "jobs", draft)


def path_of(subscription: Subscription) -> str:
    return f"/v2/queues/jobs/subscriptions/{subscription.id}/confirm"


def signed(subscription: Subscription, clock: ManualClock, **changes: str) -> dict[str, str]:
    path = path_of(subscription)
    terms = SIGNER.sign(
        paths=(path,), methods=("PUT",), project="acme", expires_at=clock.now() + seconds(600)
    )
    headers = {
        "URL-Signature": terms.signature,
        "URL-Methods": "PUT",
        "URL-Paths": path,
        "URL-Expires": terms.expires,
        "X-Project-ID": "acme",
        "Client-ID": CLIENT,
    }
    return {**headers, **changes}


async def is_confirmed(core: Core, subscription: Subscription) -> bool:
    return (await core.subscriptions.get(ACME, "jobs", subscription.id)).confirmed


async def test_a_subscriber_confirms_and_leaves_with_what_he_was_sent(
    anybody: AsgiDriver, core: Core, subscription: Subscription, clock: ManualClock
) -> None:
    path, headers = path_of(subscription), signed(subscription, clock)
    reply = await anybody.put(path, {"confirmed": True}, headers=headers)
    assert (reply.status, reply.headers["location"]) == (204, path)
    assert await is_confirmed(core, subscription)
    assert (await anybody.put(path, {"confirmed": False}, headers=headers)).status == 204
    assert not await is_confirmed(core, subscription)


@pytest.mark.parametrize(
    "changes",
    [
        {"URL-Signature": ""},
        {"URL-Signature": "0" * 64},
        {"URL-Methods": "PUT,GET"},
        {"URL-Methods": " PUT"},
        {"URL-Paths": "/v2/queues/jobs/subscriptions"},
        {"URL-Expires": "2099-01-01T00:00:00"},
        {"URL-Expires": ""},
        {"X-Project-ID": "other"},
        {"X-Project-ID": ""},
        {"X-Roles": "admin", "X-Project-ID": "other"},
        {"X-Identity-Status": "Confirmed", "URL-Signature": "x"},
    ],
)
async def test_near_misses_are_all_the_same_404(
    anybody: AsgiDriver,
    core: Core,
    subscription: Subscription,
    clock: ManualClock,
    changes: dict[str, str],
) -> None:
    headers = signed(subscription, clock, **changes)
    reply = await anybody.put(path_of(subscription), {"confirmed": True}, headers=headers)
    assert (reply.status, reply.json()) == (404, {"title": "404 Not Found"})
    assert not await is_confirmed(core, subscription)


async def test_a_signature_is_good_for_its_subscription_its_method_and_its_time_only(
    anybody: AsgiDriver, core: Core, subscription: Subscription, clock: ManualClock
) -> None:
    headers = signed(subscription, clock)
    other = await core.subscriptions.create(
        ACME, "jobs", SubscriptionDraft(subscriber="mailto:bob@example.org")
    )
    one = f"/v2/queues/jobs/subscriptions/{subscription.id}"
    tries = [
        ("PUT", path_of(other), {"confirmed": True}),
        ("POST", path_of(subscription), {"confirmed": True}),
        ("GET", one, None),
        ("PATCH", one, {"ttl": 600}),
        ("DELETE", one, None),
        ("GET", "/v2/queues/jobs/messages", None),
        ("GET", "/v2/queues", None),
    ]
    for method, target, body in tries:
        reply = await anybody.request(method, target, body, headers=headers)
        assert reply.status == 404, (method, target)
    clock.advance(seconds=600)
    late = await anybody.put(path_of(subscription), {"confirmed": True}, headers=headers)
    assert late.status == 404


async def test_a_signed_request_still_needs_a_client_id(
    anybody: AsgiDriver, subscription: Subscription, clock: ManualClock
) -> None:
    headers = {k: v for k, v in signed(subscription, clock).items() if k != "Client-ID"}
    reply = await anybody.put(path_of(subscription), {"confirmed": True}, headers=headers)
    assert reply.status == 400


async def test_a_member_of_the_project_confirms_a_webhook_and_not_an_address(
    anybody: AsgiDriver, core: Core, subscription: Subscription
) -> None:
    headers = {"X-Project-Id": "acme", "Client-ID": CLIENT}
    reply = await anybody.put(path_of(subscription), {"confirmed": True}, headers=headers)
    assert reply.status == 403
    assert not await is_confirmed(core, subscription)
    draft = SubscriptionDraft(subscriber="https://hooks.example.net/in")
    hook = await core.subscriptions.create(ACME, "jobs", draft)
    reply = await anybody.put(path_of(hook), {"confirmed": True}, headers=headers)
    assert reply.status == 204
    assert await is_confirmed(core, hook)


async def test_what_a_member_may_share_confirms_no_address(
    anybody: AsgiDriver, core: Core, subscription: Subscription, clock: ManualClock
) -> None:
    shared = "/v2/queues/jobs/subscriptions"
    terms = SIGNER.sign(
        paths=(shared,), methods=("PUT",), project="acme", expires_at=clock.now() + seconds(600)
    )
    changes = {"URL-Paths": shared, "URL-Signature": terms.signature, "URL-Expires": terms.expires}
    headers = signed(subscription, clock, **changes)
    reply = await anybody.put(path_of(subscription), {"confirmed": True}, headers=headers)
    assert (reply.status, reply.json()) == (404, {"title": "404 Not Found"})
    assert not await is_confirmed(core, subscription)


async def test_a_letter_to_another_subscriber_is_a_near_miss(
    anybody: AsgiDriver, core: Core, subscription: Subscription, clock: ManualClock
) -> None:
    headers = signed(subscription, clock)
    change = SubscriptionChange(subscriber="mailto:bob@example.org")
    changed = await core.subscriptions.update(ACME, "jobs", subscription.id, change)
    reply = await anybody.put(path_of(subscription), {"confirmed": True}, headers=headers)
    assert (reply.status, reply.json()) == (404, {"title": "404 Not Found"})
    assert not await is_confirmed(core, changed)


async def test_without_a_key_every_signed_request_is_404(
    store: MemoryStore, clock: ManualClock, subscription: Subscription
) -> None:
    keyless = AsgiDriver(build_app(build_core(store=store, clock=clock), NoAuthentication()))
    headers = signed(subscription, clock)
    reply = await keyless.put(path_of(subscription), {"confirmed": True}, headers=headers)
    assert reply.status == 404


# The page


def link(core: Core, subscription: Subscription) -> str:
    whole = core.confirmations.link(subscription)
    assert whole is not None
    parts = urlsplit(whole)
    assert (parts.scheme, parts.netloc) == ("https", "mq.example.net")
    return f"{parts.path}?{parts.query}"


async def test_the_page_is_shown_to_a_browser_and_changes_nothing(
    anybody: AsgiDriver, core: Core, subscription: Subscription
) -> None:
    for _ in range(3):  # a scanner, a preview, a person
        page = await anybody.get(
            link(core, subscription), headers={"Accept": "text/html,*/*;q=0.8"}
        )
        assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert not await is_confirmed(core, subscription)
    text = page.body.decode()
    assert "<b>jobs</b>" in text
    assert "subject=&lt;b&gt;" in text
    assert re.findall(r"""(?:src|href|action|url)\s*[=(]""", text) == []
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "frame-ancestors 'none'" in policy
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "same-origin"


async def test_a_button_confirms_and_another_leaves(
    anybody: AsgiDriver, core: Core, subscription: Subscription
) -> None:
    target = link(core, subscription)
    yes = await anybody.post(target, "answer=yes", headers=FORM)
    assert (yes.status, await is_confirmed(core, subscription)) == (200, True)
    no = await anybody.post(target, "answer=no", headers=FORM)
    assert (no.status, await is_confirmed(core, subscription)) == (200, False)


async def test_a_mail_program_leaves_with_one_click(
    anybody: AsgiDriver, core: Core, subscription: Subscription
) -> None:
    target = link(core, subscription)
    await anybody.post(target, "answer=yes", headers=FORM)
    body = "List-Unsubscribe=One-Click"
    reply = await anybody.post(target, body, headers=FORM)
    assert (reply.status, await is_confirmed(core, subscription)) == (200, False)


async def test_a_link_is_good_for_the_subscriber_alone_whom_it_was_sent_to(
    anybody: AsgiDriver, core: Core, subscription: Subscription
) -> None:
    old = link(core, subscription)
    change = SubscriptionChange(subscriber="mailto:bob@example.org")
    changed = await core.subscriptions.update(ACME, "jobs", subscription.id, change)
    new = link(core, changed)
    for target, status in ((old, 404), (new, 200)):
        assert (await anybody.get(target)).status == status
        assert (await anybody.post(target, "answer=yes", headers=FORM)).status == status
    assert await is_confirmed(core, changed)
    assert (await anybody.post(old, "answer=no", headers=FORM)).status == 404


@pytest.mark.parametrize("body", ["", "answer=", "answer=maybe", "x=1", "a=1&b&c&d&e=5&f=6", "%ff"])
async def test_a_form_that_says_nothing_does_nothing(
    anybody: AsgiDriver, core: Core, subscription: Subscription, body: str
) -> None:
    reply = await anybody.post(link(core, subscription), body, headers=FORM)
    assert (reply.status, await is_confirmed(core, subscription)) == (404, False)


async def test_a_link_that_does_not_verify_leads_to_the_same_words_whatever_is_wrong(
    anybody: AsgiDriver, core: Core, subscription: Subscription, clock: ManualClock
) -> None:
    good = link(core, subscription)
    share = SIGNER.sign(
        paths=("/v2/queues/jobs/subscriptions",),
        methods=("PUT",),
        project="acme",
        expires_at=clock.now() + seconds(600),
    )
    wide = {
        "Signature": share.signature,
        "Methods": "PUT",
        "Paths": share.paths[0],
        "Project": "acme",
        "Expires": share.expires,
    }
    targets = [
        "/confirm",
        "/confirm?Signature=x",
        good.replace("Project=acme", "Project=other"),
        good.replace("Project=acme", "Project="),
        good.replace("queues%2Fjobs", "queues%2Fothers"),
        good.replace("Methods=PUT", "Methods=GET"),
        f"/confirm?{urlencode(wide)}",
        f"{good}%ff%fe",
    ]
    pages = [await anybody.get(target) for target in targets]
    pages += [await anybody.post(target, "answer=yes", headers=FORM) for target in targets]
    await core.subscriptions.delete(ACME, "jobs", subscription.id)
    pages.append(await anybody.get(good))
    assert {page.status for page in pages} == {404}
    assert len({page.body for page in pages}) == 1


async def test_a_page_of_another_site_cannot_answer(core: Core, subscription: Subscription) -> None:
    app = build_app(core, NoAuthentication(), allowed_host=lambda name: name == "mq.example.net")
    browser = AsgiDriver(app, {"Host": "mq.example.net"})
    target = link(core, subscription)
    for origin, status in (("https://evil.example", 403), ("https://mq.example.net", 200)):
        reply = await browser.post(target, "answer=yes", headers={**FORM, "Origin": origin})
        assert reply.status == status
