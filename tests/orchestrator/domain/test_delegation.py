from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.delegation import ask_tools, handover_tools, text_argument

references = st.from_regex(
    r"[a-z0-9]([a-z0-9_.-]{0,62}[a-z0-9])?(@[1-9][0-9]{0,8})?", fullmatch=True
)


def test_agents_get_names_that_models_can_write() -> None:
    named = ask_tools(("math.expert@3", "math-expert", "math_expert"))
    assert named == {
        "ask_math_expert_3": "math.expert@3",
        "ask_math_expert": "math-expert",
        "ask_math_expert_2": "math_expert",
    }
    assert handover_tools(("desk",)) == {"hand_over_to_desk": "desk"}


@given(st.lists(references, unique=True, max_size=12))
def test_every_agent_has_a_name_of_its_own(agents: list[str]) -> None:
    for named in (ask_tools(agents), handover_tools(agents)):
        assert list(named.values()) == agents
        assert all(re.fullmatch(r"[a-z0-9_]{1,64}", name) for name in named)


@pytest.mark.parametrize(
    "arguments", ["", "[]", "null", "{}", '{"input": 3}', '{"input": " "}', '{"input":"a","b":1}']
)
def test_arguments_that_are_not_one_text_are_refused(arguments: str) -> None:
    with pytest.raises(ValueError, match='"input"'):
        text_argument(arguments, "input")


def test_the_text_of_the_only_argument_is_taken() -> None:
    assert text_argument('{"input": "do it"}', "input") == "do it"
