import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from backends.llm_serving.text import StopScanner, Utf8Stream


@settings(deadline=None)
@given(st.text(), st.lists(st.integers(0, 40)))
def test_characters_arrive_whole_however_their_bytes_are_cut(text: str, cuts: list[int]) -> None:
    data, stream, shown = text.encode(), Utf8Stream(), []
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for begin, end in itertools.pairwise(edges):
        shown.append(stream.feed(data[begin:end]))
    shown.append(stream.close())
    assert "".join(shown) == text
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(shown) or "\N{REPLACEMENT CHARACTER}" in text


def test_bytes_that_never_become_a_character_are_replaced_at_the_end() -> None:
    stream = Utf8Stream()
    assert stream.feed(b"a\xe2\x82") == "a"
    assert stream.close() == "\N{REPLACEMENT CHARACTER}"


def fed(scanner: StopScanner, pieces: list[str]) -> tuple[list[str], bool]:
    shown = []
    for piece in pieces:
        scanned = scanner.feed(piece)
        shown.append(scanned.text)
        if scanned.stopped:
            return shown, True
    return [*shown, scanner.close()], False


def test_nothing_of_a_stop_string_is_sent_even_if_it_comes_in_parts() -> None:
    shown, stopped = fed(StopScanner(("STOP",), include=False), ["so S", "T", "OP it"])
    assert (shown, stopped) == (["so ", "", ""], True)


def test_what_only_looked_like_a_stop_string_is_sent_after_all() -> None:
    shown, stopped = fed(StopScanner(("STOP",), include=False), ["so ST", "AR"])
    assert (shown, stopped) == (["so ", "STAR", ""], False)


def test_a_stop_string_is_kept_when_asked_for_and_what_follows_is_not() -> None:
    shown, _ = fed(StopScanner(("\n\n",), include=True), ["a\n", "\nb"])
    assert "".join(shown) == "a\n\n"


def test_the_first_of_several_stop_strings_wins() -> None:
    shown, _ = fed(StopScanner(("c", "b"), include=False), ["abc"])
    assert "".join(shown) == "a"


@settings(deadline=None)
@given(
    st.text(alphabet="ab", max_size=30),
    st.lists(st.text(alphabet="ab", min_size=1, max_size=4), min_size=1, max_size=3),
    st.lists(st.integers(0, 30)),
)
def test_cuts_never_change_what_is_sent(text: str, stops: list[str], cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[a:b] for a, b in itertools.pairwise(edges)]
    shown, stopped = fed(StopScanner(tuple(stops), include=False), pieces)
    sent = "".join(shown)
    assert text.startswith(sent)
    assert stopped == any(stop in text for stop in stops)
    assert not any(stop in sent for stop in stops)
    if not stopped:
        assert sent == text
