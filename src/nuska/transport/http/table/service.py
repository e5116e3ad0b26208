"""The rows about the service itself."""

from nuska.transport.http import service
from nuska.transport.http.table.rows import Admits, Operation, Route

VERSIONS = Route(
    "/",
    (
        Operation(
            method="GET",
            handler=service.get_versions,
            name="getVersions",
            summary="The versions of the API.",
            answers={300: "Versions"},
        ),
    ),
    Admits.ANY_REQUEST,
)

VERSION = Route(
    "/v2",
    (
        Operation(
            method="GET",
            handler=service.get_version,
            name="getVersion",
            summary="The version of the API, for discovery.",
            answers={200: "Versions"},
        ),
    ),
    Admits.ANY_REQUEST,
)

PING = Route(
    "/v2/ping",
    (
        Operation(
            method="GET",
            handler=service.get_ping,
            name="ping",
            summary="Whether the message store answers.",
            answers={204: None},
            relation="rel/ping",
        ),
        Operation(
            method="HEAD",
            handler=service.head_ping,
            name="pingQuietly",
            summary="Whether the server answers.",
            answers={204: None},
        ),
    ),
    Admits.ANYBODY,
)

HEALTH = Route(
    "/v2/health",
    (
        Operation(
            method="GET",
            handler=service.get_health,
            name="getHealth",
            summary="Performs every kind of operation and says how it went.",
            action="health:get",
            answers={200: "Health"},
            refusals=(403,),
            relation="rel/health",
        ),
    ),
)
