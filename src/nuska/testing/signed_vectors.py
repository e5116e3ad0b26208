"""The contract's four signatures (signed-urls §6), as a client shows them: made by the key
``nuska-demo-secret``, and good until March 2031."""

from typing import Any

PROJECT = "7f9c1a2b3d4e5f60718293a4b5c6d7e8"
ORDERS = "/v2/queues/orders"
CONFIRM = f"{ORDERS}/subscriptions/9b2d6f0e-1c34-4a5b-8c7d-0e1f2a3b4c5d/confirm"
READER: dict[str, Any] = {
    "paths": [f"{ORDERS}/messages"],
    "methods": ["GET"],
    "project": PROJECT,
    "expires": "2031-03-04T05:06:07",
    "signature": "40e053117abe83e24259f42eb9561ddc29c2b07aeac68dadfef06c658722a783",
}
WORKER: dict[str, Any] = {
    "paths": [f"{ORDERS}/messages", f"{ORDERS}/claims"],
    "methods": ["POST", "GET", "DELETE"],
    "project": PROJECT,
    "expires": "2031-03-04T05:06:07",
    "signature": "cdd5def452e1844c45a309876a0aac3cc25cc849bb2b8825e633098f84557516",
}
SUBSCRIBER: dict[str, Any] = {
    "paths": [CONFIRM],
    "methods": ["PUT"],
    "project": PROJECT,
    "expires": "2031-03-04T05:06:07",
    "signature": "9dc4bc7fbb5a43fa01e91812ac475cf48e8571c7e402692e45581ff923dd993b",
}
OF_NO_PROJECT: dict[str, Any] = {
    "paths": [f"{ORDERS}/messages"],
    "methods": ["GET"],
    "project": "",
    "expires": "2031-03-04T05:06:07",
    "signature": "90cf8fd470b020a87861e290ab4b4163ea84c20e3abacf724967fb73788c3d87",
}
"""Genuine, and of use to nobody: every call needs a project."""
