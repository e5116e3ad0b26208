"""No error of a store, and nothing that its driver logs, shows the password in its address."""

import logging
import traceback

import pytest

from nuska.testing.opening import open_by_url
from nuska.testing.ports import free_port

pytestmark = pytest.mark.usefixtures("half_open_sockets")

SECRET = "s3cret-word"
ADDRESSES = {
    "redis": "redis://nuska:{}@127.0.0.1:{}",
    "rediss": "rediss://nuska:{}@127.0.0.1:{}",
    "redis+cluster": "redis+cluster://nuska:{}@127.0.0.1:{}",
    "redis+sentinel": "redis+sentinel://nuska:{0}@127.0.0.1:{1}/main?sentinel_password={0}",
    "postgresql": "postgresql://nuska:{}@127.0.0.1:{}/nuska?ssl=verify-full",
    "mariadb": "mariadb://nuska:{}@127.0.0.1:{}/nuska?ssl=verify-full",
    "mongodb": "mongodb://nuska:{}@127.0.0.1:{}/nuska?serverSelectionTimeoutMS=200",
}


@pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES)
async def test_a_server_that_is_not_there_is_no_reason_to_tell_a_password(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(Exception, match=r"\w") as caught:
        await open_by_url(address.format(SECRET, free_port()))
    told = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert SECRET not in told


@pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES)
@pytest.mark.parametrize("wrong", ["{}&unknown=1", "{}?unknown=1", "{}#x", "{}/a/b/c"])
async def test_a_wrong_address_is_no_reason_either(address: str, wrong: str) -> None:
    url = wrong.format(address.format(SECRET, 1))
    with pytest.raises(Exception, match=r"\w") as caught:
        await open_by_url(url)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
