from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.toolbox.output import MIN_BYTES, shown

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=2_000)
MARKER = re.compile(r"\n\[(\d+) bytes left out\]\Z")


@given(ANY_TEXT, st.integers(MIN_BYTES, 1_000))
@example("€" * 400, MIN_BYTES)
@example("\ud800" * 400, MIN_BYTES)
def test_whatever_a_tool_says_fits_and_holds_no_control_characters(text: str, most: int) -> None:
    result = shown(text, max_bytes=most)
    assert len(result.encode("utf-8")) <= most
    assert not [c for c in result if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t"]


@given(ANY_TEXT, st.integers(MIN_BYTES, 1_000))
def test_the_marker_counts_exactly_what_is_left_out(text: str, most: int) -> None:
    whole, result = shown(text, max_bytes=1_000_000), shown(text, max_bytes=most)
    if len(whole.encode()) <= most:
        assert result == whole
        return
    marker = MARKER.search(result)
    assert marker is not None
    kept = result[: marker.start()]
    assert whole.startswith(kept)
    assert len(kept.encode()) + int(marker[1]) == len(whole.encode())


@pytest.mark.parametrize("text", ["plain", "two\nlines\tand a tab", "Grüße 🎉", "", '{"a": 1}'])
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert shown(text) == text


def test_line_ends_become_newlines_and_control_characters_visible() -> None:
    assert shown("a\r\nb\x1b[31mc\x00") == "a\nb\ufffd[31mc\ufffd"
