from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain import pages
from orchestrator.domain.errors import InvalidInput


@given(st.text(), st.text(min_size=1))
def test_a_token_gives_its_position_back(tenant: str, position: str) -> None:
    assert pages.decode("runs", tenant, pages.encode("runs", tenant, position)) == position


def test_the_end_of_a_listing_has_the_empty_token() -> None:
    assert pages.encode("runs", "acme", "") == ""
    assert pages.decode("runs", "acme", "") == ""


@given(st.text(min_size=1))
def test_any_other_text_is_refused_with_its_field(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        pages.decode("runs", "acme", text)
    assert caught.value.field == "page_token"


def test_a_token_of_another_listing_or_tenant_is_refused() -> None:
    token = pages.encode("runs", "acme", "x")
    for listing, tenant in (("sessions", "acme"), ("runs", "other")):
        with pytest.raises(InvalidInput):
            pages.decode(listing, tenant, token)
