"""What the settings mean for subscriptions."""

import pytest

from nuska.domain.errors import InvalidInput
from nuska.settings import Settings
from nuska.subscribing import subscriber_rules

LOCAL, PRIVATE = "http://127.0.0.1:9000/in", "https://10.1.2.3/in"


@pytest.mark.parametrize(
    ("settings", "allowed"),
    [
        (Settings(), [LOCAL]),
        (Settings(listen="unix:/run/nuska.sock"), [LOCAL]),
        (Settings(insecure_open=True), []),
        (Settings(listen="0.0.0.0:80", insecure_open=True), []),
        (Settings(allowed_networks=("10.1.0.0/16",)), [LOCAL, PRIVATE]),
        (Settings(allowed_networks=("127.0.0.1",), insecure_open=True), [LOCAL]),
    ],
)
def test_this_machine_is_called_only_while_nobody_else_can_reach_the_server(
    settings: Settings, allowed: list[str]
) -> None:
    check = subscriber_rules(settings).check_url
    check("https://hooks.example.net/in")
    for url in (LOCAL, PRIVATE):
        if url in allowed:
            check(url)
        else:
            with pytest.raises(InvalidInput):
                check(url)
