"""Claims over HTTP (contract http-v2 §4, lifecycle §5 and §7), row by row."""

import pytest

from nuska.testing.asgi import AsgiDriver, Reply
from nuska.testing.clock import ManualClock

QUEUE = "/v2/queues/jobs"
MESSAGES = f"{QUEUE}/messages"
CLAIMS = f"{QUEUE}/claims"


def bodies(reply: Reply) -> list[object]:
    return [message["body"] for message in reply.json()["messages"]]


async def post(api: AsgiDriver, *bodies: object, **fields: object) -> list[str]:
    drafts = [{"body": body, **fields} for body in bodies]
    return (await api.post(MESSAGES, {"messages": drafts})).json()["resources"]


async def claim(api: AsgiDriver, body: object = None, *, limit: int = 1) -> Reply:
    reply = await api.post(f"{CLAIMS}?limit={limit}", body)
    assert reply.status == 201
    return reply


async def test_the_worked_example_of_a_claim(api: AsgiDriver, clock: ManualClock) -> None:
    hrefs = await post(api, {"job": 17}, ttl=900)
    clock.advance(seconds=12)
    reply = await api.post(f"{CLAIMS}?limit=2", {"ttl": 120, "grace": 60})
    assert reply.status == 201
    path, _, claim_id = reply.headers["location"].rpartition("/")
    assert path == CLAIMS
    assert claim_id.isalnum()
    assert reply.json() == {
        "messages": [
            {
                "id": hrefs[0].rpartition("/")[2],
                "href": f"{hrefs[0]}?claim_id={claim_id}",
                "ttl": 900,
                "age": 12,
                "body": {"job": 17},
            }
        ]
    }
    assert reply.body.count(b"claim_id=") == 1


async def test_nothing_to_claim_is_204_without_body_or_location(api: AsgiDriver) -> None:
    for _ in range(2):
        reply = await api.post(CLAIMS, {})
        assert (reply.status, reply.body) == (204, b"")
        assert "location" not in reply.headers
        assert "content-type" not in reply.headers
    assert (await api.request("HEAD", QUEUE)).status == 404


async def test_own_messages_are_claimable(api: AsgiDriver) -> None:
    await post(api, 1)
    assert bodies(await claim(api)) == [1]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"ttl": null, "grace": null}',
        b'{"ttl": 300}',
        b'{"grace": 60, "id": "x", "messages": [], "limit": "all"}',
    ],
)
async def test_the_defaults_of_a_claim_are_300_and_60(
    api: AsgiDriver, clock: ManualClock, body: bytes
) -> None:
    await post(api, 1, ttl=60)
    reply = await claim(api, body)
    assert reply.json()["messages"][0]["ttl"] == 360
    shown = (await api.get(reply.headers["location"])).json()
    assert (shown["ttl"], shown["age"]) == (300, 0)


@pytest.mark.parametrize(
    ("body", "title"),
    [
        (b"[]", "Invalid request body"),
        (b"3", "Invalid request body"),
        (b"{", "Invalid request body"),
        (b'{"ttl": "60"}', "Invalid request body"),
        (b'{"ttl": 60.5}', "Invalid request body"),
        (b'{"grace": []}', "Invalid request body"),
        (b'{"ttl": 59}', "Invalid API request"),
        (b'{"ttl": 43201}', "Invalid API request"),
        (b'{"ttl": true}', "Invalid API request"),
        (b'{"ttl": -1}', "Invalid API request"),
        (b'{"grace": 59}', "Invalid API request"),
        (b'{"grace": 43201}', "Invalid API request"),
        (b'{"ttl": 1' + b"0" * 25 + b"}", "Invalid request body"),
        (b" " * 65_537, "Invalid API request"),
    ],
)
async def test_a_malformed_claim_is_400_and_takes_nothing(
    api: AsgiDriver, body: bytes, title: str
) -> None:
    await post(api, 1)
    reply = await api.post(CLAIMS, body)
    assert (reply.status, reply.json()["title"]) == (400, title)
    assert (await api.get(f"{QUEUE}/stats")).json()["messages"]["claimed"] == 0


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("limit=0", "Invalid API request"),
        ("limit=21", "Invalid API request"),
        ("limit=-1", "Invalid API request"),
        ("limit=x", "Invalid parameter"),
        ("wait=-1", "Invalid API request"),
        ("wait=x", "Invalid parameter"),
    ],
)
async def test_a_bad_query_is_refused(api: AsgiDriver, query: str, title: str) -> None:
    await post(api, 1)
    reply = await api.post(f"{CLAIMS}?{query}")
    assert (reply.status, reply.json()["title"]) == (400, title)


async def test_unknown_parameters_are_ignored(api: AsgiDriver) -> None:
    await post(api, 1)
    assert (await api.post(f"{CLAIMS}?colour=red")).status == 201


async def test_a_claim_takes_ten_messages_unless_asked_otherwise(api: AsgiDriver) -> None:
    await post(api, *range(25))
    assert bodies(await api.post(CLAIMS)) == list(range(10))
    assert bodies(await api.post(f"{CLAIMS}?limit=3")) == [10, 11, 12]


@pytest.mark.parametrize(
    ("limit", "taken"), [(3, 3), (20, 20), (21, 10), (0, 10), (-1, 10), (True, 10), ("3", 10)]
)
async def test_a_limit_in_the_body_counts_where_it_makes_sense(
    api: AsgiDriver, limit: object, taken: int
) -> None:
    await post(api, *range(25))
    assert len(bodies(await api.post(CLAIMS, {"limit": limit}))) == taken


async def test_the_limit_of_the_query_goes_before_that_of_the_body(api: AsgiDriver) -> None:
    await post(api, *range(5))
    assert len(bodies(await api.post(f"{CLAIMS}?limit=2", {"limit": 4}))) == 2


async def test_a_claim_prolongs_a_message_that_would_die_before_its_grace(
    api: AsgiDriver, clock: ManualClock
) -> None:
    # Contract lifecycle §5 with I9: the end becomes the later of itself and now + T + G.
    await post(api, "A", ttl=60)
    await post(api, "B", ttl=400)
    reply = await claim(api, {"ttl": 100, "grace": 200}, limit=2)
    assert [message["ttl"] for message in reply.json()["messages"]] == [300, 400]
    clock.advance(seconds=299)
    shown = await api.get(f"{MESSAGES}?echo=true&include_claimed=true")
    assert bodies(shown) == ["A", "B"]
    clock.advance(seconds=1)
    shown = await api.get(f"{MESSAGES}?echo=true&include_claimed=true")
    assert bodies(shown) == ["B"]


async def test_get_shows_age_ttl_and_what_is_left(api: AsgiDriver, clock: ManualClock) -> None:
    await post(api, 1, 2)
    taken = await claim(api, {"ttl": 120}, limit=2)
    location = taken.headers["location"]
    await api.delete(taken.json()["messages"][0]["href"])
    clock.advance(seconds=3)
    reply = await api.get(location)
    (left,) = taken.json()["messages"][1:]
    assert reply.status == 200
    assert reply.json() == {
        "age": 3,
        "ttl": 120,
        "href": location,
        "messages": [{**left, "age": 3}],
    }
    await api.delete(left["href"])
    assert (await api.get(location)).json()["messages"] == []


async def test_a_claim_is_over_at_the_second_it_ends(api: AsgiDriver, clock: ManualClock) -> None:
    await post(api, 1)
    location = (await claim(api, {"ttl": 60})).headers["location"]
    clock.advance(milliseconds=59_999)
    assert (await api.get(location)).status == 200
    clock.advance(milliseconds=1)
    assert (await api.get(location)).status == 404
    assert (await api.patch(location, {})).status == 404
    assert (await api.delete(location)).status == 204
    assert bodies(await claim(api)) == [1]


@pytest.mark.parametrize("claim_id", ["f" * 24, "bad", "%00", "x" * 3000])
async def test_an_unknown_claim_is_404_but_its_release_204(api: AsgiDriver, claim_id: str) -> None:
    await post(api, 1)
    for reply in (
        await api.get(f"{CLAIMS}/{claim_id}"),
        await api.patch(f"{CLAIMS}/{claim_id}", {}),
    ):
        assert (reply.status, reply.json()["title"]) == (404, "Not found")
    assert (await api.delete(f"{CLAIMS}/{claim_id}")).status == 204


async def test_claims_of_elsewhere_are_claims_that_do_not_exist(api: AsgiDriver) -> None:
    await post(api, 1)
    location = (await claim(api)).headers["location"]
    other = api.with_headers(X_Project_Id="b")
    for driver, target in ((other, location), (api, location.replace("jobs", "other"))):
        assert (await driver.get(target)).status == 404
        assert (await driver.patch(target, {})).status == 404
        assert (await driver.delete(target)).status == 204
    assert (await api.get(location)).status == 200


async def test_any_client_of_the_project_may_use_a_claim(api: AsgiDriver, bob: AsgiDriver) -> None:
    await post(api, 1)
    location = (await claim(api)).headers["location"]
    assert (await bob.get(location)).status == 200
    assert (await bob.delete(location)).status == 204


async def test_renewing_starts_the_claim_anew(api: AsgiDriver, clock: ManualClock) -> None:
    await post(api, 1, ttl=60)
    location = (await claim(api, {"ttl": 60, "grace": 60})).headers["location"]
    clock.advance(seconds=50)
    reply = await api.patch(location, {"ttl": 1000, "grace": 70})
    assert (reply.status, reply.body) == (204, b"")
    shown = (await api.get(location)).json()
    assert (shown["age"], shown["ttl"], shown["messages"][0]["ttl"]) == (0, 1000, 1070)


async def test_what_a_renewal_leaves_out_takes_the_servers_defaults(api: AsgiDriver) -> None:
    await post(api, 1)
    location = (await claim(api, {"ttl": 1000})).headers["location"]
    assert (await api.patch(location, {})).status == 204
    assert (await api.get(location)).json()["ttl"] == 300


async def test_the_renewal_of_the_sdk_sends_all_it_knows(api: AsgiDriver) -> None:
    await post(api, 1)
    location = (await claim(api)).headers["location"]
    known = {"ttl": 60, "grace": 60, "limit": 10, "age": 3, "messages": [], "id": "x"}
    assert (await api.patch(location, known)).status == 204


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b'{"ttl": 59}', 400),
        (b'{"ttl": 43201}', 400),
        (b'{"ttl": "60"}', 400),
        (b'{"grace": "60"}', 400),
        (b'{"grace": -1}', 400),
        (b'{"grace": 0}', 204),
        (b'{"grace": 43201}', 204),
        (b'{"grace": 9223372036854775807}', 204),
        (b'{"ttl": null, "grace": null}', 204),
    ],
)
async def test_the_body_of_a_renewal(api: AsgiDriver, body: bytes, status: int) -> None:
    await post(api, 1)
    location = (await claim(api)).headers["location"]
    assert (await api.patch(location, body)).status == status
    assert (await api.get(location)).status == 200


async def test_a_released_message_is_back_at_its_place(api: AsgiDriver) -> None:
    await post(api, 1, 2, 3)
    location = (await claim(api, limit=2)).headers["location"]
    reply = await api.delete(location)
    assert (reply.status, reply.body) == (204, b"")
    assert bodies(await claim(api, limit=3)) == [1, 2, 3]


async def test_there_is_no_listing_of_claims(api: AsgiDriver) -> None:
    assert (await api.get(CLAIMS)).status == 405


# Delays


async def test_a_delayed_message_is_claimable_when_it_is_due(
    api: AsgiDriver, clock: ManualClock
) -> None:
    await api.put(QUEUE, {"_default_message_delay": 30})
    await post(api, "by default")
    await post(api, "at once", delay=0)
    await post(api, "own", delay=10)
    assert bodies(await claim(api, limit=3)) == ["at once"]
    clock.advance(seconds=10)
    assert bodies(await claim(api, limit=3)) == ["own"]
    clock.advance(seconds=20)
    assert bodies(await claim(api, limit=3)) == ["by default"]


async def test_a_delay_given_at_post_stays_when_the_queue_changes(
    api: AsgiDriver, clock: ManualClock
) -> None:
    await api.put(QUEUE, {"_default_message_delay": 30})
    await post(api, "late")
    patch = [{"op": "replace", "path": "/metadata/_default_message_delay", "value": 0}]
    kind = {"Content-Type": "application/openstack-messaging-v2.0-json-patch"}
    await api.patch(QUEUE, patch, headers=kind)
    assert (await api.post(CLAIMS)).status == 204
    clock.advance(seconds=30)
    assert bodies(await claim(api)) == ["late"]


# Dead letters

DEAD = "/v2/queues/dead/messages"


async def take_and_release(api: AsgiDriver) -> None:
    await api.delete((await claim(api)).headers["location"])


async def test_the_third_claim_of_a_two_count_queue_answers_204(
    api: AsgiDriver, clock: ManualClock
) -> None:
    await api.put(QUEUE, {"_max_claim_count": 2, "_dead_letter_queue": "dead"})
    (href,) = await post(api, {"job": 17}, ttl=900)
    await take_and_release(api)
    clock.advance(seconds=5)
    await take_and_release(api)
    assert (await api.post(CLAIMS)).status == 204
    assert bodies(await api.get(f"{MESSAGES}?echo=true&include_claimed=true")) == []
    (moved,) = (await api.get(f"{DEAD}?echo=true")).json()["messages"]
    message_id = href.rpartition("/")[2]
    assert moved == {
        "id": message_id,
        "href": f"{DEAD}/{message_id}",
        "ttl": 900,
        "age": 5,
        "body": {"job": 17},
    }


async def test_why_a_message_is_dead_shows_to_readers_that_ask(api: AsgiDriver) -> None:
    await api.put(QUEUE, {"_max_claim_count": 1, "_dead_letter_queue": "dead"})
    await post(api, 1)
    await take_and_release(api)
    await api.post(CLAIMS)
    assert b"dead_letter" not in (await api.get(f"{DEAD}?echo=true")).body
    (dead,) = (await api.get(f"{DEAD}?echo=true&attributes=true")).json()["messages"]
    assert dead["dead_letter"]["origin"] == "jobs"
    assert dead["dead_letter"]["claim_count"] == 1
    assert dead["dead_letter"]["at"] == "2030-01-01T00:00:00Z"
    assert dead["dead_letter"]["reason"]


async def test_a_claim_hands_out_the_rest_while_it_moves_the_dead(api: AsgiDriver) -> None:
    await api.put(QUEUE, {"_max_claim_count": 1, "_dead_letter_queue": "dead"})
    await post(api, "worn out")
    await take_and_release(api)
    await post(api, "fresh")
    assert bodies(await claim(api, limit=5)) == ["fresh"]
    assert bodies(await api.get(f"{DEAD}?echo=true")) == ["worn out"]


@pytest.mark.parametrize("count", [0, -3])
async def test_a_count_of_zero_or_less_moves_at_the_first_claim(
    api: AsgiDriver, count: int
) -> None:
    await api.put(QUEUE, {"_max_claim_count": count, "_dead_letter_queue": "dead"})
    await post(api, 1)
    assert (await api.post(CLAIMS)).status == 204
    assert bodies(await api.get(f"{DEAD}?echo=true")) == [1]


async def test_a_dead_letter_lives_by_the_ttl_that_its_queue_names(
    api: AsgiDriver, clock: ManualClock
) -> None:
    await api.put(
        QUEUE,
        {
            "_max_claim_count": 0,
            "_dead_letter_queue": "dead",
            "_dead_letter_queue_messages_ttl": 600,
        },
    )
    await post(api, 1, ttl=60)
    clock.advance(seconds=10)
    await api.post(CLAIMS)
    (moved,) = (await api.get(f"{DEAD}?echo=true")).json()["messages"]
    assert moved["ttl"] == 600
    clock.advance(seconds=599)
    assert len(bodies(await api.get(f"{DEAD}?echo=true"))) == 1
    clock.advance(seconds=1)
    assert bodies(await api.get(f"{DEAD}?echo=true")) == []


async def test_null_settings_are_unset(api: AsgiDriver) -> None:
    await api.put(QUEUE, {"_max_claim_count": None, "_dead_letter_queue": None})
    await post(api, 1)
    for _ in range(5):
        await take_and_release(api)
    assert bodies(await claim(api)) == [1]
