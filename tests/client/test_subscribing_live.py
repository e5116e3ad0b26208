"""Live subscriptions: they come back, go on where they were, and say what is missing."""

import asyncio
import logging

import pytest

from nuska.client import BadRequest, CannotConnect, Client, Gap
from nuska.testing.timing import ManualTiming


@pytest.fixture
async def client(lines, hurried: ManualTiming):
    async with (
        asyncio.timeout(30),
        Client(lines.url, project="shop", timing=hurried.timing) as client,
    ):
        yield client


async def subscribed(line, marker: str = "10", **options) -> None:
    """The client subscribes, with these options."""
    request = await line.asked("subscription_create")
    assert request["body"]["queue_name"] == "jobs"
    assert request["body"]["options"] == {"detailed": True, **options}
    await line.replies(request, {"subscription_id": "s", "marker": marker}, status=201)


async def test_messages_come_in_order_with_what_is_known_of_them(lines, client) -> None:
    async def pushes(line) -> None:
        await subscribed(line)
        await line.tells(
            "Notification",
            queue_name="jobs",
            message_id="id-1",
            marker="11",
            body={"job": 1},
            ttl=60,
            attributes={"lang": "en"},
        )
        await line.pushes("12", None)
        await line.ends()

    lines.script = [pushes]
    async with client.subscribe("jobs") as live:
        first = await anext(live)
        assert (first.queue, first.id, first.marker, first.ttl) == ("jobs", "id-1", "11", 60)
        assert (first.body, first.attributes) == ({"job": 1}, {"lang": "en"})
        assert (await anext(live)).body is None
        assert live.markers == {"jobs": "12"}


async def test_after_a_cut_it_goes_on_after_the_last_message(lines, client) -> None:
    async def breaks(line) -> None:
        await subscribed(line)
        await line.pushes("11", 1)
        await line.pushes("12", 2)
        await line.closes(4008, "too slow")

    async def resumes(line) -> None:
        await subscribed(line, since="12")
        await line.pushes("13", 3)
        await line.ends()

    lines.script = [breaks, resumes]
    async with client.subscribe("jobs") as live:
        assert [(await anext(live)).body for _ in range(3)] == [1, 2, 3]


async def test_before_the_first_message_it_goes_on_from_where_it_began(lines, client) -> None:
    async def breaks(line) -> None:
        await subscribed(line, marker="10")
        await line.breaks_off()

    async def resumes(line) -> None:
        await subscribed(line, marker="12", since="10")
        await line.pushes("11", 1)
        await line.ends()

    lines.script = [breaks, resumes]
    async with client.subscribe("jobs") as live:
        assert (await anext(live)).body == 1


async def test_a_subscription_that_has_ended_is_made_anew(lines, client) -> None:
    async def ends(line) -> None:
        await subscribed(line)
        await line.pushes("11", 1)
        await line.tells("SubscriptionEnded", subscription_id="s")
        await line.ends()

    async def resumes(line) -> None:
        await subscribed(line, since="11")
        await line.pushes("12", 2)
        await line.ends()

    lines.script = [ends, resumes]
    async with client.subscribe("jobs") as live:
        assert [(await anext(live)).body for _ in range(2)] == [1, 2]


async def test_several_queues_have_a_marker_each(lines, client) -> None:
    async def begins(line) -> None:
        request = await line.asked("subscription_create")
        assert request["body"]["queue_names"] == ["jobs", "news"]
        assert "queue_name" not in request["body"]
        assert request["body"]["options"]["since"] == {"news": "5"}
        begun = {"subscription_id": "s", "markers": {"jobs": "10", "news": "5"}}
        await line.replies(request, begun, status=201)
        await line.pushes("6", "new", queue="news")
        await line.breaks_off()

    async def resumes(line) -> None:
        request = await line.asked("subscription_create")
        assert request["body"]["options"]["since"] == {"jobs": "10", "news": "6"}
        begun = {"subscription_id": "s", "markers": {"jobs": "10", "news": "6"}}
        await line.replies(request, begun, status=201)
        await line.pushes("11", "job")
        await line.ends()

    lines.script = [begins, resumes]
    async with client.subscribe("jobs", "news", since={"news": "5"}) as live:
        assert [(await anext(live)).queue for _ in range(2)] == ["news", "jobs"]


async def test_a_gap_is_told_and_the_next_cut_goes_on_after_it(lines, client) -> None:
    async def has_a_gap(line) -> None:
        await subscribed(line, since="3", filter={"body.job": 1})
        await line.tells("Gap", queue_name="jobs", marker="40")
        await line.breaks_off()

    async def resumes(line) -> None:
        await subscribed(line, since="40", filter={"body.job": 1})
        await line.pushes("41", 1)
        await line.ends()

    lines.script = [has_a_gap, resumes]
    told = []
    async with client.subscribe(
        "jobs", since="3", filter={"body.job": 1}, on_gap=told.append
    ) as live:
        assert (await anext(live)).marker == "41"
    assert told == [Gap("jobs", "40")]


async def test_a_gap_that_nobody_asked_to_hear_of_is_logged(lines, client, caplog) -> None:
    async def has_a_gap(line) -> None:
        await subscribed(line, since="3")
        await line.tells("Gap", queue_name="jobs", marker="40")
        await line.pushes("41", 1)
        await line.ends()

    lines.script = [has_a_gap]
    with caplog.at_level(logging.WARNING, "nuska.client"):
        async with client.subscribe("jobs", since="3") as live:
            await anext(live)
    assert "messages of queue jobs up to 40 are missing" in caplog.text


async def test_clients_of_a_server_that_restarts_come_back_at_moments_of_their_own(
    lines, client, hurried: ManualTiming
) -> None:
    async def restarts(line) -> None:
        await subscribed(line)
        await line.closes(1012, "restarting")

    async def restarts_again(line) -> None:
        await subscribed(line, since="10")
        await line.closes(1012, "restarting")

    async def goes_on(line) -> None:
        await subscribed(line, since="10")
        await line.pushes("11", 1)
        await line.ends()

    lines.script = [restarts, restarts_again, goes_on]
    async with client.subscribe("jobs") as live:
        await anext(live)
    assert len({round(seconds, 6) for seconds in hurried.slept}) == len(hurried.slept) == 4


async def test_a_refusal_ends_it(lines, client) -> None:
    async def refuses(line) -> None:
        request = await line.asked("subscription_create")
        await line.replies(request, {"exception": "No such operator."}, status=400)
        await line.ends()

    lines.script = [refuses]
    with pytest.raises(BadRequest, match="No such operator"):
        await anext(client.subscribe("jobs", filter={"body": {"?": 1}}))


async def test_a_server_that_nobody_reaches_is_an_error_the_first_time(hurried) -> None:
    async with Client("http://127.0.0.1:9", project="shop", timing=hurried.timing) as client:
        with pytest.raises(CannotConnect):
            await anext(client.subscribe("jobs"))


async def test_closing_the_client_ends_its_subscriptions(lines, hurried: ManualTiming) -> None:
    async def goes_on(line) -> None:
        await subscribed(line)
        await line.ends()

    lines.script = [goes_on]
    async with asyncio.timeout(30), Client(lines.url, project="s", timing=hurried.timing) as client:
        live = await client.subscribe("jobs").__aenter__()
        waiting = asyncio.ensure_future(anext(live, "nothing"))
        await asyncio.sleep(0)
    assert await waiting == "nothing"


async def test_a_marker_alone_is_not_enough_for_several_queues(client) -> None:
    with pytest.raises(ValueError, match="of one queue"):
        client.subscribe("jobs", "news", since="3")
    with pytest.raises(ValueError, match="name of a queue"):
        client.subscribe()
