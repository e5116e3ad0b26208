"""Refusals that only HTTP knows; whatever another transport could say too is a domain error."""

from falcon import Response

from nuska.transport.wire.errors import error_body


class Refused(Exception):
    """Answer with ``status`` and the standard error body, and do nothing else."""

    def __init__(
        self,
        status: int,
        title: str | None,
        description: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.description = description
        self.headers = headers or {}

    def write(self, response: Response) -> None:
        response.status = self.status
        response.data = None if self.title is None else error_body(self.title, self.description)
        response.set_headers(self.headers)


def no_such_route() -> Refused:
    """Also the answer to any pre-signed request that does not verify, on purpose."""
    return Refused(404, "404 Not Found")


def method_not_allowed(allow: str) -> Refused:
    return Refused(405, "405 Method Not Allowed", headers={"allow": allow})


def not_acceptable() -> Refused:
    return Refused(406, None)


def unsupported_media_type(accepted: str) -> Refused:
    return Refused(415, "415 Unsupported Media Type", f"This accepts {accepted} only.")


def foreign(header: str) -> Refused:
    return Refused(
        403,
        "Not authorized",
        f"The header {header} names a host that this server does not answer for while it runs "
        "without authentication.",
    )
