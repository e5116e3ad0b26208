"""The documents made from the route table: built once, at start, and served as bytes."""

from collections.abc import Sequence

from falcon.asgi import Response

from nuska.core import Core
from nuska.domain.limits import Limits
from nuska.transport.http import home
from nuska.transport.http.openapi import openapi_document
from nuska.transport.http.request import ApiRequest
from nuska.transport.http.routes import Admits, Handler, Operation, Route


def home_route(routes: Sequence[Route]) -> Route:
    """``/v2/``: the home document of ``routes``."""
    headers = {"content-type": home.CONTENT_TYPE, "cache-control": f"max-age={home.MAX_AGE}"}
    operation = Operation(
        method="GET",
        handler=_serve(home.home_document(routes), headers),
        name="getHome",
        summary="The home document: what there is, and how its URLs are formed.",
        answers={200: "Home"},
        answer_type=home.CONTENT_TYPE,
    )
    return Route("/v2/", (operation,))


def openapi_route(routes: Sequence[Route], limits: Limits) -> Route:
    """``/v2/openapi.json``, which describes ``routes`` and itself."""

    def serving(document: bytes) -> Route:
        operation = Operation(
            method="GET",
            handler=_serve(document, {}),
            name="getOpenapi",
            summary="This document.",
            answers={200: "Openapi"},
        )
        return Route("/v2/openapi.json", (operation,), Admits.ANYBODY)

    return serving(openapi_document((*routes, serving(b"")), limits))


def _serve(document: bytes, headers: dict[str, str]) -> Handler:
    async def serve(_core: Core, _req: ApiRequest, resp: Response) -> None:
        resp.data = document
        resp.set_headers(headers)

    return serve
