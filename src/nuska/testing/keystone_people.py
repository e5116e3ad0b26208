"""Whom tests have in a Keystone: the service's own user, and people with a project each."""

import uuid
from dataclasses import dataclass

from nuska.testing.keystone_server import KeystoneServer

SERVICE_USER = "nuska"
SERVICE_PASSWORD = "nuska-service-password-4711"
SERVICE_PROJECT = "service"


@dataclass(frozen=True)
class Person:
    """A user with roles in a project of his own."""

    name: str
    id: str
    password: str
    project: str
    """Its name."""
    project_id: str
    keystone: KeystoneServer

    def token(self) -> str:
        return self.keystone.token(self.name, self.password, self.project)


def add_service(keystone: KeystoneServer) -> None:
    """The user as whom the service asks, with the role that may validate tokens."""
    project = keystone.new_project(SERVICE_PROJECT)
    keystone.new_user(SERVICE_USER, SERVICE_PASSWORD, project, "service")


def new_person(keystone: KeystoneServer, *roles: str) -> Person:
    unique = uuid.uuid4().hex[:12]
    project = keystone.new_project(f"project-{unique}")
    password = f"password-of-{unique}"
    user = keystone.new_user(f"user-{unique}", password, project, *roles)
    return Person(f"user-{unique}", user, password, f"project-{unique}", project, keystone)
