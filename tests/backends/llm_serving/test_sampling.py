import json

import pytest

from backends.llm_serving.errors import InvalidRequest
from backends.llm_serving.sampling import SamplingParams, parse_sampling, refuse_extras


def parsed(**given: object) -> SamplingParams:
    return parse_sampling(json.dumps(given))


def test_nothing_given_means_the_defaults_of_vllm() -> None:
    assert parse_sampling("") == parse_sampling("{}") == SamplingParams()
    assert SamplingParams().temperature == 1.0
    assert SamplingParams().max_tokens == 16


def test_every_value_arrives_typed() -> None:
    params = parsed(
        n=2,
        temperature=0.5,
        top_p=0.9,
        top_k=-1,
        min_p=0.1,
        max_tokens=None,
        min_tokens=3,
        stop="END",
        stop_token_ids=[7],
        include_stop_str_in_output=True,
        ignore_eos=True,
        presence_penalty=-1,
        frequency_penalty=2,
        repetition_penalty=1.1,
        seed=42,
        logprobs=0,
        skip_special_tokens=False,
    )
    assert params == SamplingParams(
        n=2,
        temperature=0.5,
        top_p=0.9,
        top_k=0,
        min_p=0.1,
        max_tokens=None,
        min_tokens=3,
        stop=("END",),
        stop_token_ids=(7,),
        include_stop_str_in_output=True,
        ignore_eos=True,
        presence_penalty=-1.0,
        frequency_penalty=2.0,
        repetition_penalty=1.1,
        seed=42,
        logprobs=0,
        skip_special_tokens=False,
    )


def test_numbers_and_booleans_may_come_as_strings_as_nvidias_backend_takes_them() -> None:
    params = parsed(temperature="0.7", max_tokens="5", ignore_eos="true")
    assert (params.temperature, params.max_tokens, params.ignore_eos) == (0.7, 5, True)


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("temperature", "hot", "a number of at least 0"),
        ("temperature", -0.1, "a number of at least 0"),
        ("temperature", True, "a number of at least 0"),
        ("temperature", float("nan"), "a number of at least 0"),
        ("top_p", 0, "above 0 and at most 1"),
        ("top_k", -2, "0 or -1 for all"),
        ("min_p", 1, "below 1"),
        ("max_tokens", 0, "at least 1"),
        ("max_tokens", 1.5, "at least 1"),
        ("min_tokens", -1, "at least 0"),
        ("stop", [""], "non-empty strings"),
        ("stop", 3, "non-empty strings"),
        ("stop_token_ids", ["a"], "token ids"),
        ("stop_token_ids", [-1], "token ids"),
        ("ignore_eos", 1, "true or false"),
        ("presence_penalty", 2.1, "from -2 to 2"),
        ("repetition_penalty", 0, "a number above 0"),
        ("seed", -1, "at least 0"),
        ("logprobs", -2, "at least -1"),
        ("n", 0, "at least 1"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(
    name: str, value: object, right: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"'{name}' must be .*{right}"):
        parsed(**{name: value})


@pytest.mark.parametrize("text", ["{", "[]", "3", '"x"', "nul"])
def test_what_is_not_a_json_object_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="sampling_parameters"):
        parse_sampling(text)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidRequest, match=r"unknown name 'temprature'; known are .*temperature"):
        refuse_extras(parsed(temprature=1))
    with pytest.raises(InvalidRequest, match=r"known are .*logit_bias"):
        refuse_extras(parsed(temprature=1), {"logit_bias"})


def test_a_name_of_vllm_is_refused_unless_the_engine_knows_it() -> None:
    with pytest.raises(InvalidRequest, match="does not honour 'logit_bias'"):
        refuse_extras(parsed(logit_bias={"5": 1.5}))
    refuse_extras(parsed(logit_bias={"5": 1.5}), {"logit_bias"})


def test_min_tokens_above_max_tokens_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="at most max_tokens"):
        parsed(min_tokens=5, max_tokens=4)


def test_several_greedy_sequences_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="'n' must be 1 when temperature is 0"):
        parsed(n=2, temperature=0)


def test_known_names_with_vllms_default_pass_and_others_are_left_to_the_engine() -> None:
    assert parsed(best_of=1, logit_bias=None, use_beam_search=False).extras == ()
    assert parsed(logit_bias={"5": 1.5}).extras == (("logit_bias", '{"5": 1.5}'),)


def test_a_long_wrong_value_is_shortened_in_the_message() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parsed(temperature="x" * 5000)
    assert len(str(caught.value)) < 200
