"""What of a session goes to the model, and what is left out when it is too long."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.adapters.scripted_models import ScriptedLanguageModel
from orchestrator.domain.agents import AgentSpec
from orchestrator.domain.chat import ToolSchema
from orchestrator.domain.messages import Message, Role, ToolCall
from orchestrator.domain.runs import Run
from orchestrator.domain.tools import Outcome, ToolResult, ToolSpec
from orchestrator.ports.tools import ToolSource
from orchestrator.worker.context import LEAST_RESULT_CHARS, assemble, fit
from tests.orchestrator.worker.given import call, working

RUN = Run(run_id="run_00_x", tenant="t", session_id="s", agent="a@1", input="the question")


def user(text: str) -> Message:
    return Message(role=Role.USER, content=text)


def said(text: str) -> Message:
    return Message(role=Role.ASSISTANT, content=text)


def found(text: str) -> Message:
    return Message(role=Role.TOOL, content=text, tool_call_id="c")


SYSTEM = Message(role=Role.SYSTEM, content="Be brief.")
TALK = (
    SYSTEM,
    user("first"),
    said("calls"),
    found("x" * 1000),
    said("one"),
    user("second"),
    said("calls"),
    found("y" * 1000),
)


def test_the_oldest_tool_result_is_shortened_first_and_says_by_how_much() -> None:
    fitted = fit(TALK, 300)
    kept = fitted[3].content.partition("\n")[0]
    assert fitted[3].content == f"{kept}\n[… {1000 - len(kept)} characters left out]"
    assert sum(len(m.content) for m in TALK) - sum(len(m.content) for m in fitted) >= 300
    assert fitted[:3] + fitted[4:] == TALK[:3] + TALK[4:]


def test_turns_go_only_when_shortened_results_are_not_enough() -> None:
    fitted = fit(TALK, 1600)
    assert fitted[:2] == (SYSTEM, user("second"))
    assert len(fitted[-1].content) >= LEAST_RESULT_CHARS
    assert "left out]" in fitted[-1].content


def test_the_system_prompt_and_the_newest_turn_always_stay() -> None:
    fitted = fit(TALK, 1_000_000)
    assert [m.role for m in fitted] == [Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.TOOL]
    assert fitted[1].content == "second"


@given(
    st.lists(st.tuples(st.sampled_from(list(Role)[1:]), st.text(max_size=600)), max_size=12),
    st.integers(1, 5000),
)
def test_what_is_left_is_shorter_by_what_was_asked_or_can_be_no_shorter(
    talk: list[tuple[Role, str]], excess: int
) -> None:
    messages = [Message(role=role, content=text) for role, text in talk]
    fitted = fit(messages, excess)
    freed = sum(len(m.content) for m in messages) - sum(len(m.content) for m in fitted)
    users = [m for m in fitted if m.role is Role.USER]
    assert freed >= excess or len(users) <= 1
    assert fitted[-1:] == tuple(messages[-1:]) or fitted[-1].role is Role.TOOL


def test_a_run_longer_than_what_is_read_begins_with_its_input() -> None:
    calls = ToolCall(call_id="c", name="n", arguments_json="{}")
    rest = (found("of a call that is not read"), said("").model_copy(), found("r"))
    asked = rest[1].model_copy(update={"tool_calls": (calls,)})
    messages = assemble("Be brief.", (rest[0], asked, rest[2]), RUN)
    assert [m.content for m in messages] == ["Be brief.", "the question", "", "r"]


async def test_a_conversation_that_does_not_fit_loses_its_oldest_turns() -> None:
    model = ScriptedLanguageModel(lambda _: ["ok"], context_tokens=12)
    async with working(model) as fleet:
        first = await fleet.start("1 2 3 4 5 6")
        await fleet.ended(first)
        for text in ("7 8 9 10 11", "a b c d e f g"):
            ended = await fleet.ended(await fleet.start(text, session_id=first.session_id))
            assert ended.result == "ok"
        sent = [[m.content for m in request.messages] for request in fleet.model.requests]
    assert sent[1] == ["1 2 3 4 5 6", "ok", "7 8 9 10 11"]
    assert sent[2] == ["a b c d e f g"]


class Talker(ToolSource):
    def specs(self) -> Mapping[str, ToolSpec]:
        return {"talk": ToolSpec(ToolSchema("talk", "Talks.", {"type": "object"}))}

    async def call(self, call: ToolCall, *, key: str, timeout_s: float) -> ToolResult:
        return ToolResult(Outcome.OK, "blah " * 500)


async def test_a_long_tool_result_is_shortened_until_the_model_takes_it() -> None:
    model = ScriptedLanguageModel([[call("talk", "{}")], ["ok"]], context_tokens=100)
    async with working(model, tools=[Talker()]) as fleet:
        ended = await fleet.ended(await fleet.start("go on", spec=AgentSpec(tools=("talk",))))
        seen = fleet.model.requests[-1].messages
    assert ended.result == "ok"
    assert [m.role for m in seen] == [Role.USER, Role.ASSISTANT, Role.TOOL]
    assert 50 <= len(seen[-1].content.split()) < 100


async def test_a_turn_that_can_never_fit_fails_the_run_and_leaves_no_dead_letter() -> None:
    model = ScriptedLanguageModel([["never"]], context_tokens=3)
    async with working(model) as fleet:
        ended = await fleet.ended(await fleet.start("far too long a question"))
        letters = (await fleet.state.dead_letters.list("acme", limit=10, token="")).items
    assert ended.error is not None
    assert ended.error.reason == "CONTEXT_LENGTH"
    assert re.search(r"5 tokens; at most 3", ended.error.message)
    assert not letters
