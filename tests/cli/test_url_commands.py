"""``nuska url`` and ``nuska policy``, and the client below them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from nuska.client import Client, NotFound
from nuska.client.blocking import BlockingClient

BODY = json.dumps({"messages": [{"body": {"celsius": 21.5}}]}).encode()


def ask(link: str, body: bytes | None = None) -> int:
    request = Request(link, data=body, headers={"Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except HTTPError as error:
        error.close()
        return error.code


def test_the_life_of_a_kept_url(here: Any) -> None:
    assert here("url", "list").stderr == "No kept URLs.\n"
    unknown = here("url", "create", "climate", "--method", "FOO")
    assert (unknown.returncode, '"FOO"' in unknown.stderr) == (2, True)
    made = here("url", "create", "climate", "--method", "POST", "--uses", "2", "--note", "roof")
    link = made.stdout.strip()
    assert made.stderr.startswith("Kept as ")
    assert [ask(link, BODY) for _ in range(3)] == [201, 201, 404]
    columns, row = (line.split("\t") for line in here("url", "list").stdout.splitlines())
    assert columns == ["ID", "QUEUE", "METHODS", "PATHS", "EXPIRES", "USED", "NOTE"]
    assert (row[1:4], row[5:]) == (["climate", "POST", "messages"], ["2/2", "roof"])
    assert here("url", "list", "climate").stdout == here("url", "list").stdout
    assert here("url", "revoke", "climate", row[0]).stderr == f"{row[0]} is good no more.\n"
    assert here("url", "list").stderr == "No kept URLs.\n"


def test_a_revoked_url_is_refused(here: Any) -> None:
    made = json.loads(here("url", "create", "climate", "--json").stdout)
    (link,) = made["urls"]
    assert ask(link) == 200
    assert here("url", "revoke", "climate", made["id"]).returncode == 0
    assert ask(link) == 404


def test_a_plain_one_is_signed_and_not_kept(here: Any) -> None:
    made = here("url", "create", "climate", "--plain", "--path", "messages", "--path", "claims")
    links = made.stdout.splitlines()
    assert [link.partition("?")[0].rpartition("/")[2] for link in links] == ["claims", "messages"]
    assert ask(links[1]) == 200
    assert here("url", "list").stdout == ""


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("url", "create", "climate", "--plain", "--uses", "1"), "nothing is kept"),
        (("url", "create", "climate", "--path", "stats"), "may hold"),
        (("url", "create", "climate", "--ttl", "-5"), "in the future"),
        (("url", "revoke", "climate"), "Give the id"),
        (("policy", "check", "nowhere.yaml"), "cannot be read"),
    ],
)
def test_what_makes_no_sense_is_refused(here: Any, arguments: Any, complaint: str) -> None:
    done = here(*arguments)
    assert done.returncode != 0
    assert complaint in done.stderr


async def test_the_client_signs_lists_and_revokes(nuska: Any) -> None:
    async with Client(nuska.url, project=nuska.project) as client:
        urls = client.queue("climate").signed_urls
        expires = datetime.now(UTC) + timedelta(hours=1)
        kept, signed = await urls.create(methods=["GET", "POST"], max_batch=1, expires=expires)
        assert kept.expires == signed.expires == expires.strftime("%Y-%m-%dT%H:%M:%S")
        assert signed.signature not in repr(signed)
        assert [one async for one in urls.list()] == [kept]
        assert [one async for one in client.kept_urls()] == [kept]
        assert await urls.show(kept.id) == kept
        await urls.revoke(kept.id)
        with pytest.raises(NotFound):
            await urls.show(kept.id)
        plain = await urls.share(methods=["POST"])
    assert ask(f"{nuska.url}{plain.links[0]}", BODY) == 201


def test_the_blocking_client_does_the_same(nuska: Any) -> None:
    with BlockingClient(nuska.url, project=nuska.project) as client:
        urls = client.queue("climate").signed_urls
        kept, signed = urls.create(uses=1)
        assert (
            [one.id for one in urls.list()] == [one.id for one in client.kept_urls()] == [kept.id]
        )
        assert ask(f"{nuska.url}{signed.links[0]}") == 200
        assert urls.show(kept.id).used == 1
        urls.revoke(kept.id)
        assert list(urls.list()) == []
        assert urls.share().methods == ["GET"]


def test_policy_show_prints_a_file_that_says_the_same(here: Any, nuska: Any) -> None:
    shown = here("policy", "show").stdout
    assert '"pools:create": "rule:context_is_admin"\n' in shown
    file = Path(nuska.directory) / "policy.yaml"
    file.write_text(shown)
    assert here("policy", "show", str(file)).stdout == shown


def test_policy_check_says_what_is_wrong_and_who_may(here: Any, nuska: Any) -> None:
    file = Path(nuska.directory) / "policy.yaml"
    file.write_text('"messages:create": "role:writer"\n"queues:get": "project_id:acme"\n')
    asked = ("policy", "check", str(file), "--role", "Writer", "messages:create", "queues:get")
    assert here(*asked).stdout == "messages:create\tyes\nqueues:get\tno\n"
    assert here(*asked, "--project", "acme").stdout.endswith("queues:get\tyes\n")
    assert here("policy", "check", str(file), "queues:burn").returncode != 0
    file.write_text('"messages:creat": "role:writer"\n"queues:get": "roles:x"\n')
    done = here("policy", "check", str(file))
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
