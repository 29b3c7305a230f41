from __future__ import annotations

import hashlib

import pytest

from orchestrator.adapters.authenticators import ApiKeyAuthenticator, OpenAuthenticator
from orchestrator.domain.errors import InvalidInput, Unauthenticated

DIGEST = hashlib.sha256(b"open sesame").hexdigest()


async def test_a_key_speaks_for_its_tenant() -> None:
    keys = ApiKeyAuthenticator({DIGEST: "acme", "0" * 64: "globex"})
    for header in ("Bearer open sesame", "bearer open sesame"):
        assert await keys.authenticate({"authorization": header}) == "acme"


async def test_a_digest_may_be_written_in_capitals() -> None:
    keys = ApiKeyAuthenticator({DIGEST.upper(): "acme"})
    assert await keys.authenticate({"authorization": "Bearer open sesame"}) == "acme"


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("", "NO_CREDENTIALS"),
        ("Bearer", "NO_CREDENTIALS"),
        ("Bearer  ", "NO_CREDENTIALS"),
        ("Basic open sesame", "NO_CREDENTIALS"),
        ("Bearer open barley", "UNKNOWN_CREDENTIALS"),
        (f"Bearer {DIGEST}", "UNKNOWN_CREDENTIALS"),
        ("Bearer \udcff", "UNKNOWN_CREDENTIALS"),
    ],
)
async def test_anything_else_speaks_for_nobody_and_is_not_repeated(
    header: str, reason: str
) -> None:
    keys = ApiKeyAuthenticator({DIGEST: "acme"})
    with pytest.raises(Unauthenticated) as error:
        await keys.authenticate({"authorization": header})
    assert error.value.reason == reason
    assert "barley" not in error.value.message


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({}, "no API keys"),
        ({"open sesame": "acme"}, "not a SHA-256"),
        ({DIGEST: ""}, "not a name"),
        ({DIGEST: "{acme}"}, "not a name"),
        ({DIGEST: "a:b"}, "not a name"),
    ],
)
def test_keys_that_can_not_be_right_stop_the_start(keys: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as error:
        ApiKeyAuthenticator(keys)
    assert "sesame" not in error.value.message


async def test_open_takes_everybody_for_the_default_tenant_on_loopback_only() -> None:
    assert await OpenAuthenticator().authenticate({}) == "default"
    assert OpenAuthenticator().loopback_only
    assert not ApiKeyAuthenticator({DIGEST: "acme"}).loopback_only
