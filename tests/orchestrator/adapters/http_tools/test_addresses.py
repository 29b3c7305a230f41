from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.adapters.http_tools.addresses import refusal

V4 = st.ip_addresses(v=4)
V6 = st.ip_addresses(v=6)
_LOW = (1 << 32) - 1


@given(V4 | V6)
def test_every_address_that_is_not_global_is_refused(address: IPv4Address | IPv6Address) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert refusal(str(address)) is not None


@given(
    V4,
    st.sampled_from(
        ["::", "::ffff:0:0", "::ffff:0:0:0", "64:ff9b::", "64:ff9b:1::", "2001:4860::5efe:0:0"]
    ),
)
def test_an_ipv4_address_hides_in_no_ipv6_one(inner: IPv4Address, prefix: str) -> None:
    outer = IPv6Address(int(IPv6Address(prefix)) | int(inner))
    assert refusal(str(outer)) is not None


@given(V4, st.integers(0, (1 << 80) - 1))
def test_nor_in_the_prefixes_of_6to4_and_teredo(inner: IPv4Address, rest: int) -> None:
    six_to_four = IPv6Address((0x2002 << 112) | (int(inner) << 80) | rest)
    teredo = IPv6Address((0x20010000 << 96) | (rest << 16) & ~_LOW | (int(inner) ^ _LOW))
    assert refusal(str(six_to_four)) is not None
    assert refusal(str(teredo)) is not None


@given(st.integers(0, (1 << 125) - 1))
def test_ipv6_outside_global_unicast_is_refused(low: int) -> None:
    for top in (0, 2, 3, 4, 5, 6, 7):
        address = IPv6Address((top << 125) | low)
        assert address not in IPv6Network("2000::/3")
        assert refusal(str(address)) is not None


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1", "loopback"),
        ("10.1.2.3", "private"),
        ("172.31.255.255", "private"),
        ("192.168.0.1", "private"),
        ("100.64.0.1", "CGNAT"),
        ("100.100.100.200", "CGNAT"),
        ("169.254.169.254", "metadata"),
        ("168.63.129.16", "metadata"),
        ("192.0.0.192", "reserved"),
        ("224.0.0.1", "multicast"),
        ("255.255.255.255", "reserved"),
        ("0.0.0.0", "this network"),
        ("::1", "loopback"),
        ("::", "IPv4 in IPv6"),
        ("::ffff:169.254.169.254", "IPv4 in IPv6"),
        ("64:ff9b::a9fe:a9fe", "NAT64"),
        ("fd00:ec2::254", "private"),
        ("fe80::1%lo", "link-local"),
        ("ff02::1", "multicast"),
        ("localhost", "not an IP address"),
        ("", "not an IP address"),
        ("0x7f000001", "not an IP address"),
        ("127.1", "not an IP address"),
    ],
)
def test_what_is_refused_is_named(address: str, why: str) -> None:
    assert why in (refusal(address) or "")


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450:4001::8a"],
)
def test_public_addresses_are_reached(address: str) -> None:
    assert refusal(address) is None
