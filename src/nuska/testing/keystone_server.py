"""A real Keystone for tests: SQLite, Fernet tokens, on a free port, ended with the test.

It lives in an environment of its own, ``.venv-keystone`` beside this repository's sources, which
``make test`` installs: what it needs does not fit with what Nuska is tested with. The variable
``KEYSTONE_ENVIRONMENT`` names another place. Its admin's calls are here as well: what an
operator would do with ``openstack user create`` and the like.
"""

import grp
import http.client
import json
import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nuska.testing.engine import EngineProcess

VARIABLE = "KEYSTONE_ENVIRONMENT"
ENVIRONMENT = Path(__file__).parents[3] / ".venv-keystone"
ADMIN = "admin"
ADMIN_PASSWORD = "keystone-admin-password"
REGION = "RegionOne"
PREPARED_WITHIN = 180.0
"""Seconds: it makes some hundred tables."""
CALL_WITHIN = 30.0

CONFIGURATION = """\
[DEFAULT]
debug = false
[database]
connection = sqlite:///{directory}/keystone.db
[token]
provider = fernet
expiration = {expiration}
[fernet_tokens]
key_repository = {directory}/fernet
[credential]
key_repository = {directory}/credential
[cache]
enabled = false
[identity]
password_hash_rounds = 4
"""


def environment() -> Path:
    """Where Keystone is installed."""
    place = Path(os.environ.get(VARIABLE) or ENVIRONMENT)
    if not (place / "bin" / "keystone-manage").exists():
        raise RuntimeError("these tests need Keystone; `make test` installs it into .venv-keystone")
    return place


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    document: Any


class KeystoneServer(EngineProcess):
    """One Keystone, which may be started many times on the same data."""

    PATIENCE = 120.0
    """It loads much, and more for its first token."""
    expiration = 3600
    """Seconds that a token is good for; taken at the next start."""
    _admin_token = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v3"

    def prepare(self) -> None:
        self._configure()
        user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
        owner = ("--keystone-user", user, "--keystone-group", group)
        for command in (
            ("db_sync",),
            ("fernet_setup", *owner),
            ("credential_setup", *owner),
            (
                *("bootstrap", "--bootstrap-username", ADMIN),
                *("--bootstrap-password", ADMIN_PASSWORD, "--bootstrap-project-name", ADMIN),
                *("--bootstrap-region-id", REGION, "--bootstrap-public-url", self.url),
                *("--bootstrap-internal-url", self.url, "--bootstrap-admin-url", self.url),
            ),
        ):
            self._manage(*command)

    def command(self) -> Sequence[str]:
        self._configure()
        program = Path(__file__).with_name("keystone_wsgi.py")
        variable = f"OS_KEYSTONE_CONFIG_FILES={self._configuration}"
        python = str(environment() / "bin" / "python")
        return ["env", "-u", "PYTHONPATH", variable, python, str(program), str(self.port)]

    def answers(self) -> bool:
        """It gives a token: what the first one needs is loaded only then."""
        try:
            self._admin_token = self.token(ADMIN, ADMIN_PASSWORD, ADMIN)
        except (OSError, RuntimeError):
            return False
        return True

    @property
    def _configuration(self) -> Path:
        return self.directory / "keystone.conf"

    def _configure(self) -> None:
        self._configuration.write_text(
            CONFIGURATION.format(directory=self.directory, expiration=self.expiration)
        )

    def _manage(self, *arguments: str) -> None:
        program = str(environment() / "bin" / "keystone-manage")
        done = subprocess.run(
            [program, "--config-file", str(self._configuration), *arguments],
            capture_output=True,
            text=True,
            timeout=PREPARED_WITHIN,
            cwd=self.directory,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"keystone-manage {arguments[0]} failed: {done.stderr[-2000:]}")

    # What people do with it

    def call(
        self, method: str, path: str, document: object = None, *, token: str = "", **headers: str
    ) -> Answer:
        """One call of its API below ``/v3``."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=CALL_WITHIN)
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            if token:
                sent["X-Auth-Token"] = token
            body = None
            if document is not None:
                sent["Content-Type"] = "application/json"
                body = json.dumps(document)
            connection.request(method, f"/v3{path}", body, sent)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        return Answer(answer.status, dict(answer.headers), json.loads(data) if data else None)

    def admin(self, method: str, path: str, document: object = None) -> Any:
        """A call by the admin, which has to succeed."""
        for _ in range(2):
            if not self._admin_token:
                self._admin_token = self.token(ADMIN, ADMIN_PASSWORD, ADMIN)
            answer = self.call(method, path, document, token=self._admin_token)
            if answer.status != http.client.UNAUTHORIZED:
                break
            self._admin_token = ""
        if answer.status >= http.client.BAD_REQUEST:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.document}")
        return answer.document

    def token(self, user: str, password: str, project: str) -> str:
        """A token of a user, by the names of user and project."""
        auth = {
            "identity": {
                "methods": ["password"],
                "password": {
                    "user": {"name": user, "domain": {"id": "default"}, "password": password}
                },
            },
            "scope": {"project": {"name": project, "domain": {"id": "default"}}},
        }
        return self.token_by(auth)

    def token_by(self, auth: Mapping[str, object]) -> str:
        answer = self.call("POST", "/auth/tokens", {"auth": auth})
        if answer.status != http.client.CREATED:
            raise RuntimeError(f"no token: {answer.status}")
        return answer.headers["X-Subject-Token"]

    def look_at(self, token: str) -> Any:
        """What Keystone tells its admin of a token."""
        self.admin("GET", "/auth/projects")  # with a token of his own that is good
        answer = self.call("GET", "/auth/tokens", token=self._admin_token, X_Subject_Token=token)
        if answer.status != http.client.OK:
            raise RuntimeError(f"this token is not good: {answer.status}")
        return answer.document["token"]

    def revoke(self, token: str) -> None:
        answer = self.call("DELETE", "/auth/tokens", token=token, X_Subject_Token=token)
        if answer.status != http.client.NO_CONTENT:
            raise RuntimeError(f"not revoked: {answer.status}")

    def new_project(self, name: str) -> str:
        """A new project's id."""
        made = self.admin("POST", "/projects", {"project": {"name": name, "domain_id": "default"}})
        return str(made["project"]["id"])

    def new_user(self, name: str, password: str, project: str, *roles: str) -> str:
        """A new user's id, with roles in a project by its id."""
        asked = {"user": {"name": name, "password": password, "domain_id": "default"}}
        user = str(self.admin("POST", "/users", asked)["user"]["id"])
        for role in roles:
            self.assign(user, project, role)
        return user

    def assign(self, user: str, project: str, role: str) -> None:
        self.admin("PUT", f"/projects/{project}/users/{user}/roles/{self.role(role)}")

    def unassign(self, user: str, project: str, role: str) -> None:
        self.admin("DELETE", f"/projects/{project}/users/{user}/roles/{self.role(role)}")

    def role(self, name: str) -> str:
        """The id of a role, which is made if need be."""
        found = self.admin("GET", f"/roles?name={name}")["roles"]
        made = found[0] if found else self.admin("POST", "/roles", {"role": {"name": name}})["role"]
        return str(made["id"])

    def application_credential(self, user: str, token: str, name: str) -> tuple[str, str]:
        """The id and the secret of a new one, made by the user with a token of his."""
        asked = {"application_credential": {"name": name}}
        answer = self.call(
            "POST", f"/users/{user}/application_credentials", asked, token=token
        ).document["application_credential"]
        return str(answer["id"]), str(answer["secret"])

    def endpoint(self, kind: str, name: str, url: str) -> None:
        """A service in the catalogue."""
        made = self.admin("POST", "/services", {"service": {"type": kind, "name": name}})
        service = made["service"]["id"]
        for interface in ("public", "internal", "admin"):
            asked = {"service_id": service, "interface": interface, "url": url, "region_id": REGION}
            self.admin("POST", "/endpoints", {"endpoint": asked})
