"""What is shown of a pool's URI."""

import pytest

from nuska.domain.pools import masked


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("sqlite:////var/lib/nuska/pool.db", "sqlite:////var/lib/nuska/pool.db"),
        ("redis://10.0.0.7:6379", "redis://10.0.0.7:6379"),
        ("redis://user:secret@host:6379/1", "redis://user:***@host:6379/1"),
        ("redis://:secret@host", "redis://:***@host"),
        ("redis://user@host", "redis://user@host"),
        ("redis://user:a:b@c@host/1?x=y", "redis://user:***@host/1?x=y"),
        ("mongodb://u:p@a,b/db?tlsCertificateKeyFilePassword=p&w=1", "mongodb://u:***@a,b/db?tlsCertificateKeyFilePassword=***&w=1"),
        ("redis+sentinel://h/s?sentinel_password=p", "redis+sentinel://h/s?sentinel_password=***"),
    ],
)  # fmt: skip
def test_a_uri_is_shown_without_its_secrets(uri: str, shown: str) -> None:
    assert masked(uri) == shown
    assert masked(shown) == shown
