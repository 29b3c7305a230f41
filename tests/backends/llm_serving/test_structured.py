import pytest

from backends.llm_serving.errors import InvalidRequest
from backends.llm_serving.structured import StructuredOutput, parse_structured

SCHEMA = {"type": "object"}


@pytest.mark.parametrize(
    "given",
    [
        {"structured_outputs": {"json": SCHEMA}},
        {"guided_decoding": {"json": SCHEMA, "regex": None}},
        {"guided_json": SCHEMA},
        {"guided_json": '{"type": "object"}'},
    ],
)
def test_every_spelling_of_a_schema_means_the_same(given: dict[str, object]) -> None:
    assert parse_structured(given) == StructuredOutput("json", '{"type": "object"}')


def test_nothing_asked_is_nothing() -> None:
    assert parse_structured({"guided_json": None}) is None
    assert parse_structured({"structured_outputs": {"json_object": False}}) is None


def test_two_at_once_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="one structured output at a time, not json, regex"):
        parse_structured({"guided_json": SCHEMA, "guided_regex": "a+"})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"guided_json": "{"}, "'guided_json' is not JSON"),
        ({"guided_json": 3}, "must be a JSON schema"),
        ({"guided_choice": []}, "list of non-empty strings"),
        ({"guided_choice": ["a", 1]}, "list of non-empty strings"),
        ({"guided_regex": ""}, "non-empty string"),
        ({"structured_outputs": "json"}, "must be an object"),
        ({"structured_outputs": {"yaml": {}}}, "unknown key 'yaml'; known are json"),
        ({"structured_outputs": {"json_object": 1}}, "must be true or false"),
    ],
)
def test_a_wrong_one_is_named(given: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        parse_structured(given)


def test_space_may_be_fixed_by_vllms_name() -> None:
    given = {"structured_outputs": {"json": SCHEMA, "disable_any_whitespace": True}}
    assert parse_structured(given) == StructuredOutput(
        "json", '{"type": "object"}', fixed_space=True
    )
    with pytest.raises(InvalidRequest, match="disable_any_whitespace' must be true or false"):
        parse_structured({"guided_decoding": {"json": SCHEMA, "disable_any_whitespace": "yes"}})
