"""Where a Redis is, as a URL says."""

from __future__ import annotations

import ssl

import pytest

from orchestrator.adapters.redis_state.address import Address, parse


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://", Address(greeting=(("SELECT", 0),))),
        ("redis://store:6390/3", Address(host="store", port=6390, greeting=(("SELECT", 3),))),
        ("redis://store?db=2", Address(host="store", greeting=(("SELECT", 2),))),
        (
            "redis://:p%40ss@store/0",
            Address(host="store", greeting=(("AUTH", "p@ss"), ("SELECT", 0))),
        ),
        (
            "redis://me:secret@store/0",
            Address(host="store", greeting=(("AUTH", "me", "secret"), ("SELECT", 0))),
        ),
        ("unix:///run/redis.sock?db=1", Address(path="/run/redis.sock", greeting=(("SELECT", 1),))),
    ],
)
def test_a_url_says_where_and_how(url: str, address: Address) -> None:
    found = parse(url)
    assert (found.host, found.port, found.path) == (address.host, address.port, address.path)
    assert found.greeting == address.greeting
    assert found.ssl is None


def test_tls_checks_the_servers_name_unless_told_not_to() -> None:
    checked, unchecked = parse("rediss://store"), parse("rediss://store?ssl_cert_reqs=none")
    assert checked.ssl is not None
    assert checked.ssl.check_hostname
    assert unchecked.ssl is not None
    assert unchecked.ssl.verify_mode is ssl.CERT_NONE


@pytest.mark.parametrize("url", ["http://u:secret@store", "redis://u:secret@store/x", "store"])
def test_what_is_no_such_url_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(ValueError, match="Redis URL") as caught:
        parse(url)
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(parse("redis://u:secret@store"))
