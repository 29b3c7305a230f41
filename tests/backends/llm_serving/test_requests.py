import pytest

from backends.llm_serving.errors import InvalidRequest
from backends.llm_serving.requests import Limits, Wanted, parse_call, parse_hint

LIMITS = Limits(max_prompt_bytes=10)


def test_a_whole_answer_begins_with_the_prompt_unless_excluded() -> None:
    assert parse_call({"text_input": b"hi"}, {}, "", LIMITS).echo
    excluded = {"exclude_input_in_output": True}
    assert not parse_call({"text_input": b"hi"}, excluded, "", LIMITS).echo


def test_a_stream_never_begins_with_the_prompt() -> None:
    assert not parse_call({"text_input": b"hi"}, {"stream": True}, "", LIMITS).echo
    with pytest.raises(InvalidRequest, match="exclude_input_in_output"):
        parse_call(
            {"text_input": b"hi"}, {"stream": True, "exclude_input_in_output": False}, "", LIMITS
        )


def test_the_tensor_of_sampling_parameters_goes_before_request_parameters() -> None:
    texts = {"text_input": b"hi", "sampling_parameters": b'{"max_tokens": 3}'}
    assert parse_call(texts, {}, '{"max_tokens": 4}', LIMITS).params.max_tokens == 3
    del texts["sampling_parameters"]
    assert parse_call(texts, {}, '{"max_tokens": 4}', LIMITS).params.max_tokens == 4


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ("", None),
        ('{"max_tokens": 4}', None),
        ('{"stop": "cancelled_request_id"}', None),
        ('{"cancelled_request_id": 4}', None),
        ('{"cancelled_request_id": "a-1", "top_p": }', None),
        ('{"cancelled_request_id": "a-1"}', "a-1"),
    ],
)
def test_a_hint_is_a_request_whose_parameters_name_a_call(
    parameters: str, name: str | None
) -> None:
    assert parse_hint(parameters) == name


def test_additional_outputs_are_asked_for_one_by_one() -> None:
    call = parse_call({"text_input": b"hi"}, {"return_num_output_tokens": True}, "", LIMITS)
    assert call.wanted == Wanted(num_output_tokens=True)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({}, "text_input: must not be empty"),
        ({"text_input": b""}, "text_input: must not be empty"),
        ({"text_input": b"\xff"}, "not valid UTF-8 at byte 0"),
        ({"text_input": b"x" * 11}, "11 bytes are more than the 10 allowed"),
        ({"text_input": b"x", "image": b"png"}, "image: this model takes text only"),
        ({"text_input": b"x", "sampling_parameters": b"\xff"}, "sampling_parameters: not valid"),
    ],
)
def test_bad_input_is_named(texts: dict[str, bytes], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        parse_call(texts, {}, "", LIMITS)
