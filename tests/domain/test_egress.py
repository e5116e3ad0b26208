"""Which addresses the service calls on behalf of its users."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from yarl import URL

from nuska.domain.egress import EgressPolicy, judge_url, parse_networks
from nuska.domain.errors import InvalidInput

PRODUCTION = EgressPolicy()
OPEN = EgressPolicy(loopback=True)

HOSTILE = [
    # this machine and its neighbours, as they are
    "http://127.0.0.1/",
    "http://127.8.9.10:8080/in",
    "http://0.0.0.0/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://100.100.100.200/latest/meta-data/",
    "http://169.254.169.254/latest/meta-data/",
    "http://168.63.129.16/",
    "http://192.0.0.192/",
    "http://198.18.0.1/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://240.0.0.1/",
    "http://localhost/",
    "http://LOCALHOST:8080/",
    "http://localhost./",
    "http://anything.localhost/",
    "http://ip6-localhost/",
    # the same in other notations
    "http://2130706433/",
    "http://017700000001/",
    "http://0x7f000001/",
    "http://0x7f.1/",
    "http://0177.0.0.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://0/",
    "http://127.0.0.1./",
    "http://127.0.0.01/",
    "http://127.0.0.0x1/",
    "http://10.0x0.0.1/",
    "http://256.256.256.256/",
    "http://1.2.3.4.5/",
    "http://\uff11\uff12\uff17.0.0.1/",
    "http://\u2460\u2461\u2466.0.0.1/",
    "http://127\u30020\u30020\u30021/",
    "http://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3/",
    "http://127%2e0%2e0%2e1/",
    # IPv6
    "http://[::1]/",
    "http://[::]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b::169.254.169.254]/",
    "http://[64:ff9b:1::1]/",
    "http://[2002:7f00:1::]/",
    "http://[2002:c0a8:101::1]/",
    "http://[2001:0:7f00:1::]/",
    "http://[2001:db8::1]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/",
    "http://[ff02::1]/",
    "http://[fec0::1]/",
    # credentials, and hosts that programs disagree on
    "http://user:secret@example.net/",
    "http://user@example.net/",
    "http://example.net@127.0.0.1/",
    "http://@example.net/",
    "http://example.net\\@127.0.0.1/",
    "http://example.net\\.evil.example/",
    "http://example.net#@127.0.0.1:22/\n",
    "http://exa mple.net/",
    "http://exam\tple.net/",
    "http://example.net/\r\nX-Injected: 1",
    "http://\x00example.net/",
    "http://example..net/",
    "http://.example.net/",
    "http://-example.net/",
    "http:///path",
    "http://",
    "http:example.net/",
    "http:/example.net/",
    "//example.net/",
    "http://[example.net]/",
    "http://[::1/",
    f"http://{'a' * 64}.example.net/",
    f"http://{'a.' * 200}net/",
    f"http://example.net/{'a' * 2048}",
    # ports
    "http://example.net:0/",
    "http://example.net:22/",
    "http://example.net:25/",
    "http://example.net:6379/",
    "https://example.net:11211/",
    "http://example.net:65536/",
    "http://example.net:-1/",
    "http://example.net:port/",
    "http://example.net:/",
    # schemes
    "",
    "ftp://example.net/",
    "file:///etc/passwd",
    "gopher://example.net/",
    "dict://example.net:11211/",
    "unix:///run/docker.sock",
    "javascript:alert(1)",
    "httpx://example.net/",
    " http://example.net/",
    "trust+ftp://example.net/",
    "trust+http://127.0.0.1/",
    "trust+trust+http://example.net/",
]


@pytest.mark.parametrize("url", HOSTILE)
def test_a_hostile_subscriber_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        judge_url(url, PRODUCTION)
    assert "secret" not in refused.value.description


@pytest.mark.parametrize(
    ("text", "called", "endpoint"),
    [
        ("http://example.net/in?a=b", "http://example.net/in?a=b", "http://example.net:80"),
        ("https://example.net", "https://example.net", "https://example.net:443"),
        ("HTTPS://Example.NET:8443/", "https://example.net:8443/", "https://example.net:8443"),
        ("http://example.net./", "http://example.net./", "http://example.net.:80"),
        ("http://a_b.example.net/", "http://a_b.example.net/", "http://a_b.example.net:80"),
        ("http://8.8.8.8/", "http://8.8.8.8/", "http://8.8.8.8:80"),
        ("http://[2606:4700::1]:81/", "http://[2606:4700::1]:81/", "http://[2606:4700::1]:81"),
        ("http://[64:ff9b::808:808]/", "http://[64:ff9b::808:808]/", "http://[64:ff9b::808:808]:80"),
        ("http://example.net/#part", "http://example.net/", "http://example.net:80"),
        ("http://m\u00fcnchen.example/", "http://xn--mnchen-3ya.example/", "http://xn--mnchen-3ya.example:80"),
        ("http://example.net/@user", "http://example.net/@user", "http://example.net:80"),
        ("trust+https://example.net/v2", "https://example.net/v2", "https://example.net:443"),
    ],
)  # fmt: skip
def test_an_ordinary_subscriber_is_called_as_it_says(text: str, called: str, endpoint: str) -> None:
    judged = judge_url(text, PRODUCTION)
    assert (judged.url, judged.endpoint) == (called, endpoint)
    assert judged.trust == text.startswith("trust+")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1234/", "http://localhost:1234/", "http://[::1]/", "http://[::ffff:127.0.0.1]/"]
)  # fmt: skip
def test_a_server_for_this_machine_alone_may_call_this_machine(url: str) -> None:
    assert judge_url(url, OPEN)


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/", "http://169.254.169.254/", "http://2130706433/", "http://[fe80::1]/"]
)  # fmt: skip
def test_and_nothing_else_that_is_private(url: str) -> None:
    with pytest.raises(InvalidInput):
        judge_url(url, OPEN)


def test_an_operator_allows_networks_and_only_those() -> None:
    policy = EgressPolicy(allowed=parse_networks(("10.1.0.0/16", "fd00::/8", "127.0.0.1")))
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::1", "127.0.0.1", "8.8.8.8"):
        assert policy.judge_address(address) is None
    for address in ("10.2.0.1", "127.0.0.2", "::1", "fe80::1", "169.254.169.254", "nonsense"):
        assert policy.judge_address(address) is not None
    assert judge_url("http://localhost/", policy)


@pytest.mark.parametrize("text", ["10.0.0.1/8", "example.net", "", "10.0.0.0/33"])
def test_what_is_no_network_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="not a network"):
        parse_networks((text,))


@given(st.ip_addresses(v=4))
def test_no_address_is_called_that_the_library_calls_private(address: IPv4Address) -> None:
    hidden = [address, IPv6Address(f"::ffff:{address}"), IPv6Address(f"64:ff9b::{address}")]
    verdicts = {PRODUCTION.judge_address(each) is None for each in hidden}
    assert len(verdicts) == 1
    if verdicts == {True}:
        assert address.is_global or address.is_reserved


@given(st.ip_addresses(v=6))
def test_no_v6_address_is_called_that_is_not_public(address: IPv6Address) -> None:
    if PRODUCTION.judge_address(address) is None:
        assert address.is_global or address.ipv4_mapped is not None


@given(st.integers(0, 2**32 - 1), st.sampled_from(["{}", "{:#x}", "0{:o}"]))
def test_an_address_as_one_number_is_refused_whatever_it_means(number: int, form: str) -> None:
    with pytest.raises(InvalidInput):
        judge_url(f"http://{form.format(number)}/", PRODUCTION)


@given(
    st.text(st.characters(codec="utf-8"), max_size=40),
    st.sampled_from(["", "/", ":80/", "/?q=1", "@example.net/"]),
)
def test_whatever_is_let_through_is_read_alike_by_the_client(host: str, rest: str) -> None:
    try:
        judged = judge_url(f"http://{host}{rest}", PRODUCTION)
    except InvalidInput:
        return
    read = URL(judged.url)
    assert (read.raw_host, read.port) == (judged.host, judged.port)
    assert read.raw_user is None
    assert judged.url.isascii()
    try:
        literal = ip_address(judged.host)
    except ValueError:
        return
    assume(literal.version == 4)
    assert literal.is_global
