import json

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.adapters.mcp_tools.framing import BoundedLines, Oversize

MESSAGES = st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=40)), max_size=5)


@given(messages=MESSAGES, size=st.integers(min_value=1, max_value=50))
def test_lines_come_out_whole_however_they_are_cut(
    messages: list[dict[str, str]], size: int
) -> None:
    stream = b"".join(json.dumps(message).encode() + b"\n" for message in messages)
    lines = BoundedLines(10_000)
    out = [
        line for at in range(0, len(stream), size) for line in lines.feed(stream[at : at + size])
    ]
    assert [json.loads(line) for line in out if isinstance(line, bytes)] == messages


def test_a_line_beyond_the_bound_is_dropped_and_names_the_request_it_answers() -> None:
    lines = BoundedLines(100)
    answer = json.dumps({"jsonrpc": "2.0", "id": 7, "result": {"x": "y" * 1_000}}).encode()
    stream = answer + b"\n" + b'{"id":8}' + b"\n"
    out = [line for at in range(0, len(stream), 13) for line in lines.feed(stream[at : at + 13])]
    assert out == [Oversize(7), b'{"id":8}']


def test_a_large_line_that_is_no_answer_names_nothing() -> None:
    assert list(BoundedLines(100).feed(b"x" * 1_000 + b"\n")) == [Oversize(None)]


def test_a_line_without_an_end_takes_no_more_than_the_bound() -> None:
    lines = BoundedLines(1_000)
    for _ in range(1_000):
        assert not list(lines.feed(b"x" * 1_000))
    assert lines.held_bytes <= 1_000


def test_empty_lines_are_left_out() -> None:
    assert list(BoundedLines(100).feed(b"\n \n\r\na\n")) == [b"a"]
