"""Which answers Zaqar's clients can make sense of (quirk K12), for the tests beside this file.

They know a few refusals; whatever else comes they take for success. So on the routes that Zaqar
has nothing else is answered, unless the contract says so.
"""

import re

SUCCESSES = frozenset({200, 201, 204, 300})
REFUSALS = frozenset({400, 401, 403, 404, 409, 500, 503})
BY_CONTRACT = frozenset({405, 406})
"""README §4: of a method that is not there, and of a client that takes no JSON."""
WRONG_TYPE = 415
"""README §8: of a PATCH of a queue or topic that is no JSON patch."""

_NAME = r"[^/]+"
ZAQARS = re.compile(
    "|".join(
        (
            "/|/v2/?|/v2/(ping|health|queues|topics|pools|flavors)",
            rf"/v2/queues/{_NAME}(/stats|/share|/purge)?",
            rf"/v2/topics/{_NAME}(/stats|/purge)?",
            rf"/v2/(queues|topics)/{_NAME}/messages(/(?!stream$){_NAME})?",
            rf"/v2/queues/{_NAME}/claims(/{_NAME})?",
            rf"/v2/(queues|topics)/{_NAME}/subscriptions(/{_NAME}(/confirm)?)?",
            rf"/v2/(pools|flavors)/{_NAME}",
        )
    )
)
_PATCHED = re.compile(rf"/v2/(queues|topics)/{_NAME}")


def known(method: str, path: str, status: int) -> bool:
    """Whether Zaqar's clients know this answer; on routes that Zaqar lacks, any will do."""
    if not ZAQARS.fullmatch(path) or status in SUCCESSES | REFUSALS | BY_CONTRACT:
        return True
    return status == WRONG_TYPE and method == "PATCH" and bool(_PATCHED.fullmatch(path))
