"""The real server with a real Keystone: clients find it in the catalogue, as they are."""

import http.client
import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openstack
import pytest
from websockets.exceptions import ConnectionClosed

from nuska.testing.keystone_people import SERVICE_PASSWORD, Person, new_person
from nuska.testing.keystone_server import REGION, KeystoneServer, environment
from nuska.testing.receiver import receiver
from nuska.testing.server_process import ServerProcess
from nuska.testing.websocket_client import talking

pytestmark = [
    pytest.mark.slow,
    # The SDK warns about methods and parameters of its own that it uses itself.
    pytest.mark.filterwarnings("ignore::openstack.warnings.RemovedInSDK50Warning"),
    pytest.mark.filterwarnings("ignore::openstack.warnings.RemovedInSDK60Warning"),
]
WITHIN = 120
"""Seconds for a command."""
SOON = 30.0


def settings(keystone: KeystoneServer, **more: str) -> dict[str, str]:
    return {
        "NUSKA_KEYSTONE_URL": keystone.url,
        "NUSKA_KEYSTONE_PASSWORD": SERVICE_PASSWORD,
        "NUSKA_KEYSTONE_TIMEOUT": "20",
        "NUSKA_TOKENS_RECHECK_AFTER": "1",
        **more,
    }


@pytest.fixture(scope="module")
def server(
    only_keystone: KeystoneServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    data = tmp_path_factory.mktemp("nuska")
    environment = settings(only_keystone)
    with ServerProcess(data, "--auth", "keystone", environment=environment) as running:
        only_keystone.endpoint("messaging", "zaqar", running.url)
        yield running


@dataclass(frozen=True)
class Plain:
    status: int
    headers: Mapping[str, str]
    body: bytes


def call(
    server: ServerProcess,
    method: str,
    path: str,
    token: str = "",
    document: Any = None,
    **more: str,
) -> Plain:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SOON)
    try:
        headers = {"Client-ID": str(uuid.uuid4())}
        headers |= {name.replace("_", "-"): value for name, value in more.items()}
        if token:
            headers["X-Auth-Token"] = token
        body = None if document is None else json.dumps(document)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return Plain(answer.status, dict(answer.headers), answer.read())
    finally:
        connection.close()


def names(answer: Plain) -> list[str]:
    assert answer.status == 200, answer.body
    return [entry["name"] for entry in json.loads(answer.body)["queues"]]


def test_without_a_token_a_client_is_told_where_keystone_is(
    server: ServerProcess, keystone: KeystoneServer
) -> None:
    for token in ("", "x", "gAAAAAB" + "x" * 170):
        answer = call(server, "GET", "/v2/queues", token, X_Project_Id="any", X_Roles="admin")
        assert answer.status == 401
        uri = keystone.url.removesuffix("/v3")
        assert answer.headers["www-authenticate"] == f'Keystone uri="{uri}"'
        assert json.loads(answer.body)["error"]["title"] == "Unauthorized"


def test_the_project_is_the_tokens_whatever_the_client_says(
    server: ServerProcess, keystone: KeystoneServer, ann: Person
) -> None:
    bob = new_person(keystone, "member")
    assert call(server, "PUT", "/v2/queues/anns", ann.token()).status == 201
    for claimed in (ann.project_id, bob.project_id, ""):
        for header in ("X_Project_Id", "X_Tenant_Id", "X_Tenant"):
            answer = call(server, "GET", "/v2/queues", bob.token(), **{header: claimed})
            assert names(answer) == []
    assert names(call(server, "GET", "/v2/queues", ann.token())) == ["anns"]


def test_a_reader_in_keystone_changes_nothing(
    server: ServerProcess, keystone: KeystoneServer
) -> None:
    reader = new_person(keystone, "reader")
    token = reader.token()
    assert call(server, "GET", "/v2/queues", token).status == 200
    assert call(server, "PUT", "/v2/queues/jobs", token).status == 403
    answer = call(server, "PUT", "/v2/queues/jobs", token, X_Roles="member,admin")
    assert answer.status == 403


def test_a_revoked_token_stops_working(server: ServerProcess, keystone: KeystoneServer) -> None:
    ann = new_person(keystone, "member")
    token = ann.token()
    assert call(server, "GET", "/v2/queues", token).status == 200
    keystone.revoke(token)
    until = time.monotonic() + SOON
    while call(server, "GET", "/v2/queues", token).status != 401:
        assert time.monotonic() < until
        time.sleep(0.2)


def test_an_application_credential_is_good(
    server: ServerProcess, keystone: KeystoneServer, ann: Person
) -> None:
    id_, secret = keystone.application_credential(ann.id, ann.token(), f"of-{ann.name}")
    identity = {
        "methods": ["application_credential"],
        "application_credential": {"id": id_, "secret": secret},
    }
    token = keystone.token_by({"identity": identity})
    assert call(server, "PUT", "/v2/queues/by-credential", token).status == 201
    assert "by-credential" in names(call(server, "GET", "/v2/queues", ann.token()))


def test_a_keystone_that_is_gone_lets_nobody_in_and_holds_up_nobody_it_knows(
    server: ServerProcess, keystone: KeystoneServer, ann: Person
) -> None:
    known, unknown = ann.token(), ann.token()
    assert call(server, "GET", "/v2/queues", known).status == 200
    keystone.kill()
    answer = call(server, "GET", "/v2/queues", unknown)
    assert answer.status == 503
    assert "retry-after" in answer.headers
    for _ in range(20):
        began = time.monotonic()
        assert call(server, "GET", "/v2/queues", known).status == 200
        assert time.monotonic() - began < SOON / 10
    keystone.start()
    assert call(server, "GET", "/v2/queues", unknown).status == 200


class TestClients:
    """Unmodified, by the catalogue."""

    def test_openstacksdk(self, server: ServerProcess, keystone: KeystoneServer) -> None:
        ann = new_person(keystone, "member")
        with openstack.connect(
            load_yaml_config=False,
            load_envvars=False,
            auth_url=keystone.url,
            username=ann.name,
            password=ann.password,
            project_name=ann.project,
            user_domain_name="Default",
            project_domain_name="Default",
            region_name=REGION,
        ) as cloud:
            cloud.message.create_queue(name="jobs")
            cloud.message.post_message("jobs", [{"body": {"job": 17}, "ttl": 300}])
            (message,) = cloud.message.messages("jobs")
            assert message.body == {"job": 17}
            assert [queue.name for queue in cloud.message.queues()] == ["jobs"]
            cloud.session.session.close()

    def test_the_openstack_command(
        self, server: ServerProcess, keystone: KeystoneServer, tmp_path: Path
    ) -> None:
        ann = new_person(keystone, "member")

        def openstack(*arguments: str) -> str:
            done = subprocess.run(
                [str(environment() / "bin" / "openstack"), *arguments],
                capture_output=True,
                text=True,
                timeout=WITHIN,
                cwd=tmp_path,
                check=False,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(tmp_path),
                    "OS_AUTH_URL": keystone.url,
                    "OS_USERNAME": ann.name,
                    "OS_PASSWORD": ann.password,
                    "OS_PROJECT_NAME": ann.project,
                    "OS_USER_DOMAIN_NAME": "Default",
                    "OS_PROJECT_DOMAIN_NAME": "Default",
                    "OS_REGION_NAME": REGION,
                    "OS_IDENTITY_API_VERSION": "3",
                    "OS_MESSAGE_CLIENT_ID": str(uuid.uuid4()),
                },
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        openstack("messaging", "queue", "create", "jobs")
        openstack(
            "messaging", "message", "post", "jobs", '[{"body": "from the shell", "ttl": 300}]'
        )
        assert "from the shell" in openstack("messaging", "message", "list", "jobs", "-f", "json")
        listed = json.loads(openstack("messaging", "queue", "list", "-f", "json"))
        assert [queue["Name"] for queue in listed] == ["jobs"]
        assert names(call(server, "GET", "/v2/queues", ann.token())) == ["jobs"]


class TestTrusts:
    async def test_a_subscriber_gets_a_token_of_the_trust_that_its_owner_gave(
        self, server: ServerProcess, keystone: KeystoneServer
    ) -> None:
        ann = new_person(keystone, "member")
        async with receiver() as listening:
            hook = f"trust+{listening.url('/ok')}"
            made = subscribe(server, ann.token(), {"subscriber": hook, "ttl": 600})
            assert made.status == 201, made.body
            id_ = json.loads(made.body)["subscription_id"]
            shown = call(server, "GET", f"/v2/queues/jobs/subscriptions/{id_}", ann.token())
            trust = json.loads(shown.body)["options"]["trust_id"]
            document = {"messages": [{"body": "hello", "ttl": 300}]}
            posted = call(server, "POST", "/v2/queues/jobs/messages", ann.token(), document)
            assert posted.status == 201
            await listening.wait_for(1, within=SOON)
        (notification,) = listening.requests
        token = notification.headers["x-auth-token"]
        told = keystone.look_at(token)
        assert told["user"]["id"] == ann.id
        assert told["project"]["id"] == ann.project_id
        assert told["OS-TRUST:trust"]["id"] == trust

    async def test_a_trust_is_made_over_websocket_by_the_token_shown_there(
        self, server: ServerProcess, keystone: KeystoneServer
    ) -> None:
        ann = new_person(keystone, "member")
        url = server.url.replace("http", "ws", 1) + "/v2/websocket"
        async with receiver() as listening, talking(url, project=ann.project_id) as talk:
            hook = {"subscriber": f"trust+{listening.url('/ok')}", "ttl": 600}
            shown = {"X-Auth-Token": ann.token()}
            assert (await talk.ask("authenticate", shown)).status == 200
            made = await talk.ask("subscription_create", queue_name="jobs", **hook)
            assert made.status == 201, made.body
            posted = await talk.ask("message_post", queue_name="jobs", messages=[{"body": "hello"}])
            assert posted.status == 201
            await listening.wait_for(1, within=SOON)
        (notification,) = listening.requests
        told = keystone.look_at(notification.headers["x-auth-token"])
        assert told["user"]["id"] == ann.id
        assert told["project"]["id"] == ann.project_id

    async def test_a_revoked_token_closes_an_open_websocket(
        self, server: ServerProcess, keystone: KeystoneServer
    ) -> None:
        ann = new_person(keystone, "member")
        url = server.url.replace("http", "ws", 1) + "/v2/websocket"
        async with talking(url, project=ann.project_id) as talk:
            token = ann.token()
            assert (await talk.ask("authenticate", {"X-Auth-Token": token})).status == 200
            made = await talk.ask("subscription_create", queue_name="jobs")
            assert made.status == 201, made.body
            keystone.revoke(token)
            with pytest.raises(ConnectionClosed) as closed:
                await talk.next()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4003

    def test_nobody_uses_a_trust_that_another_gave(
        self, server: ServerProcess, keystone: KeystoneServer
    ) -> None:
        ann, bob = new_person(keystone, "member"), new_person(keystone, "member")
        hook = {"subscriber": "trust+http://127.0.0.1:18080/in", "ttl": 600}
        made = subscribe(server, ann.token(), hook)
        id_ = json.loads(made.body)["subscription_id"]
        shown = call(server, "GET", f"/v2/queues/jobs/subscriptions/{id_}", ann.token())
        trust = json.loads(shown.body)["options"]["trust_id"]
        for named in (trust, "0" * 32, "../users", "x" * 65):
            answer = subscribe(server, bob.token(), {**hook, "options": {"trust_id": named}})
            assert answer.status == 400, named
        own = {**hook, "subscriber": f"{hook['subscriber']}/2", "options": {"trust_id": trust}}
        assert subscribe(server, ann.token(), own).status == 201

    def test_an_application_credential_makes_no_trust(
        self, server: ServerProcess, keystone: KeystoneServer, ann: Person
    ) -> None:
        id_, secret = keystone.application_credential(ann.id, ann.token(), f"of-{ann.name}")
        identity = {
            "methods": ["application_credential"],
            "application_credential": {"id": id_, "secret": secret},
        }
        token = keystone.token_by({"identity": identity})
        answer = subscribe(server, token, {"subscriber": "trust+http://127.0.0.1:18080/in"})
        assert answer.status == 403


def subscribe(server: ServerProcess, token: str, document: Mapping[str, object]) -> Plain:
    return call(server, "POST", "/v2/queues/jobs/subscriptions", token, document)


def test_no_secret_is_in_what_the_server_prints(
    server: ServerProcess, ann: Person, tmp_path: Path
) -> None:
    token = ann.token()
    call(server, "GET", "/v2/queues", token)
    for secret in (SERVICE_PASSWORD, token):
        assert secret not in server.output
