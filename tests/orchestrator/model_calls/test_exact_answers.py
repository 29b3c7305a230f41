from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from orchestrator.adapters.memory_answers import MemoryAnswers
from orchestrator.adapters.scripted_models import ScriptedLanguageModel
from orchestrator.domain.agents import Sampling
from orchestrator.domain.allowance import Allowance
from orchestrator.domain.chat import (
    ChatFinished,
    ChatRequest,
    FinishReason,
    MalformedToolCall,
    TextChunk,
    ToolCallChunk,
    ToolSchema,
)
from orchestrator.domain.errors import Exhausted, InvalidInput, Unavailable
from orchestrator.domain.events import AnswerCached, CacheHit
from orchestrator.domain.messages import Message, Role, ToolCall
from orchestrator.domain.output_schema import OutputShape
from orchestrator.domain.runs import Usage
from orchestrator.ports.answers import AnswerKey, Put, StoredAnswer
from tests.orchestrator.model_calls.given_cache import (
    ENTRY,
    Versions,
    caching,
    hit_of,
    request,
    said,
    stored,
    text_of,
)

EXACT = CacheHit.EXACT
TOOL = ToolSchema("calculator", "Computes.", {"type": "object", "properties": {"e": {}}})
CALLING = '<tool_call>{"name": "calculator", "arguments": {"e": "6*7"}}</tool_call>'


async def test_the_same_request_again_gets_the_same_answer_and_no_model_is_asked() -> None:
    model = ScriptedLanguageModel([["It is", " 42."]])
    async with caching(model) as cached:
        *first_text, first = await said(cached, request())
        *again_text, again = await said(cached, request())
    assert first_text == [TextChunk("It is"), TextChunk(" 42.")]
    assert "".join(c.text for c in again_text if isinstance(c, TextChunk)) == "It is 42."
    assert isinstance(first, ChatFinished)
    assert isinstance(again, ChatFinished)
    assert first.cached is None
    assert again.cached == AnswerCached(model="small", hit=EXACT)
    assert (again.reason, again.usage) == (first.reason, first.usage)
    assert len(model.requests) == 1


async def test_a_hit_costs_nothing_and_its_meter_says_so() -> None:
    async with caching([["It is 42."]]) as cached:
        paid, free = request(), request()
        await said(cached, paid)
        await said(cached, free)
    assert paid.meter.usage == free.meter.usage
    assert paid.meter.usage.tokens > 0
    assert (paid.meter.cached, free.meter.cached) == (False, True)


async def test_tool_calls_come_back_as_they_were() -> None:
    model = ScriptedLanguageModel([[CALLING]])
    async with caching(model) as cached:
        first = await said(cached, request(tools=(TOOL,)))
        again = await said(cached, request(tools=(TOOL,)))
    wanted = ToolCallChunk(
        ToolCall(call_id="call_1", name="calculator", arguments_json='{"e": "6*7"}')
    )
    assert first[0] == again[0] == wanted
    assert isinstance(again[-1], ChatFinished)
    assert again[-1].reason is FinishReason.TOOL_CALLS
    assert len(model.requests) == 1


SYSTEM, USER = request().messages
OTHERS = {
    "tenant": {"tenant": "globex"},
    "question": {"messages": (SYSTEM, USER.model_copy(update={"content": "And eight?"}))},
    "system prompt": {"messages": (SYSTEM.model_copy(update={"content": "Be kind."}), USER)},
    "no system prompt": {"messages": (USER,)},
    "role": {"messages": (SYSTEM, USER.model_copy(update={"role": Role.ASSISTANT}))},
    "tool offered": {"tools": (TOOL,)},
    "tokens": {"sampling": Sampling(max_tokens=5)},
    "stop": {"sampling": Sampling(stop=("x",))},
    "top_p": {"sampling": Sampling(top_p=0.5)},
    "seed": {"sampling": Sampling(seed=3)},
    "schema": {"output": OutputShape({"type": "string"})},
    "confidence": {"confidence": True},
}


@pytest.mark.parametrize("changed", OTHERS.values(), ids=OTHERS)
async def test_a_request_that_differs_is_another(changed: dict[str, Any]) -> None:
    async with caching(lambda _: ["an answer"]) as cached:
        assert await hit_of(cached, request()) is None
        assert await hit_of(cached, request(**changed)) is None
        assert await hit_of(cached, request(**changed)) is EXACT
        assert await hit_of(cached, request()) is EXACT


async def test_a_tools_description_schema_and_the_order_of_its_parameters_count() -> None:
    a, b = {"type": "object", "x": {}, "y": {}}, {"type": "object", "y": {}, "x": {}}
    tools = [
        (ToolSchema("t", "one", a),),
        (ToolSchema("t", "two", a),),
        (ToolSchema("t", "one", b),),
        (ToolSchema("t", "one", a), ToolSchema("u", "", {})),
    ]
    async with caching(lambda _: ["an answer"]) as cached:
        assert [await hit_of(cached, request(tools=t)) for t in tools] == [None] * 4


async def test_who_said_a_message_in_which_run_does_not_count() -> None:
    again = USER.model_copy(update={"run_id": "run_2"})
    async with caching([["an answer"]]) as cached:
        await said(cached, request(session_id="ses_1"))
        assert await hit_of(cached, request(messages=(SYSTEM, again), session_id="ses_2")) is EXACT


@pytest.mark.parametrize(
    "changed", [{"sampling": Sampling(temperature=0.1)}, {"tenant": ""}], ids=["random", "nobody's"]
)
async def test_what_is_not_deterministic_or_nobodys_is_never_cached(
    changed: dict[str, Any],
) -> None:
    async with caching(lambda _: ["an answer"]) as cached:
        assert [await hit_of(cached, request(**changed)) for _ in range(2)] == [None, None]


async def test_other_weights_under_the_same_name_are_another_model() -> None:
    versions = Versions("1")
    async with caching(lambda _: ["an answer"], versions=versions) as cached:
        assert await hit_of(cached, request()) is None
        versions.now = "2"
        assert await hit_of(cached, request()) is None
        versions.now = "1"
        assert await hit_of(cached, request()) is EXACT


async def test_while_nobody_can_tell_the_version_the_model_itself_is_asked() -> None:
    versions = Versions("1")
    async with caching(lambda _: ["an answer"], versions=versions) as cached:
        await said(cached, request())
        versions.now = ""
        assert await hit_of(cached, request()) is None


async def test_another_catalogue_entry_or_generation_finds_nothing_of_the_old() -> None:
    answers = MemoryAnswers()
    changes: list[tuple[dict[str, Any], str]] = [
        ({}, ""),
        ({"model": "another"}, ""),
        ({"provider": "openai"}, ""),
        ({"max_new_tokens": 7}, ""),
        ({}, "2"),
    ]
    for change, generation in changes:
        entry = ENTRY.model_copy(update=change)
        async with caching(
            lambda _: ["an answer"], answers, entry=entry, generation=generation
        ) as cached:
            assert await hit_of(cached, request()) is None
    async with caching(
        [], answers, entry=ENTRY.model_copy(update={"input_price": 1, "quality": {"a": 1.0}})
    ) as cached:
        assert await hit_of(cached, request()) is EXACT


async def test_an_answer_with_its_confidence_is_cached_with_it() -> None:
    class Sure(ScriptedLanguageModel):
        async def chat(self, request: ChatRequest):  # type: ignore[no-untyped-def]
            self.requests.append(request)
            yield TextChunk("Yes.")
            yield ChatFinished(FinishReason.STOP, Usage(), confidence=0.9)

    async with caching(Sure([])) as cached:
        for _ in range(2):
            last = (await said(cached, request(confidence=True)))[-1]
            assert isinstance(last, ChatFinished)
            assert last.confidence == 0.9


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("gone", reason="MODEL_UNAVAILABLE"),
        InvalidInput("no", field="messages", reason="CONTEXT_LENGTH"),
    ],
    ids=type,
)
async def test_an_error_is_raised_as_it_is_and_not_cached(error: Exception) -> None:
    model = ScriptedLanguageModel([["Half"] + [error], ["Whole."]])  # noqa: RUF005
    async with caching(model) as cached:
        with pytest.raises(type(error)) as raised:
            await said(cached, request())
        assert vars(raised.value) == vars(error)
        assert await text_of(cached, request()) == "Whole."


async def test_a_call_that_cannot_be_read_is_paid_for_and_not_cached() -> None:
    model = ScriptedLanguageModel([["<tool_call>{nonsense</tool_call>"], ["Fine."]])
    async with caching(model) as cached:
        with pytest.raises(MalformedToolCall) as raised:
            await said(cached, request())
        assert raised.value.usage.completion_tokens == 1
        assert raised.value.said == "<tool_call>{nonsense</tool_call>"
        assert await text_of(cached, request()) == "Fine."


LONG = ["one two three four five"]


def prompt_tokens() -> int:
    return sum(len(message.content.split()) for message in request().messages)


async def test_an_answer_that_a_budget_cut_is_not_given_to_others() -> None:
    little = Allowance(tokens=prompt_tokens() + 3)
    async with caching(lambda _: LONG) as cached:
        assert await text_of(cached, request(allowance=little)) == "one two three"
        await stored(cached)
        assert await hit_of(cached, request()) is None
        assert await text_of(cached, request()) == LONG[0]


async def test_an_answer_that_ended_within_its_budget_is_everybodys() -> None:
    enough = Allowance(tokens=prompt_tokens() + 50)
    async with caching([LONG]) as cached:
        await said(cached, request(allowance=enough))
        await stored(cached)
        assert await hit_of(cached, request()) is EXACT


async def test_json_written_within_a_budget_is_not_given_to_others() -> None:
    shape = OutputShape({"type": "string"})
    enough = Allowance(tokens=prompt_tokens() + 50)
    async with caching(lambda _: ['"x"']) as cached:
        await said(cached, request(output=shape, allowance=enough))
        await stored(cached)
        assert await hit_of(cached, request(output=shape)) is None


async def test_a_budget_that_a_cached_answer_does_not_fit_is_left_to_the_model() -> None:
    async with caching(lambda _: LONG) as cached:
        await said(cached, request())
        await stored(cached)
        cut = Allowance(tokens=prompt_tokens() + 2)
        assert await text_of(cached, request(allowance=cut)) == "one two"
        await stored(cached)
        with pytest.raises(Exhausted):
            await said(cached, request(allowance=Allowance(tokens=1)))
        assert await hit_of(cached, request(allowance=Allowance(tokens=100))) is EXACT


async def test_money_that_is_left_does_not_bound_what_is_free() -> None:
    poor = Allowance(cost_micros=0, input_price=1_000_000, output_price=1_000_000)
    async with caching([LONG]) as cached:
        await said(cached, request())
        await stored(cached)
        assert await hit_of(cached, request(allowance=poor)) is EXACT


async def test_an_answer_cut_by_the_models_own_limit_is_cached() -> None:
    async with caching([[LONG[0], FinishReason.LENGTH]]) as cached:
        await said(cached, request())
        assert await hit_of(cached, request()) is EXACT


class Away(MemoryAnswers):
    async def claim(self, *_: object, **__: object) -> StoredAnswer | bool:
        raise Unavailable("away", reason="STORE_UNAVAILABLE")

    async def put(self, *_: object, **__: object) -> Put:
        raise Unavailable("away", reason="STORE_UNAVAILABLE")


async def test_a_cache_that_is_away_keeps_nobody_from_an_answer() -> None:
    async with caching(lambda _: ["an answer"], Away()) as cached:
        assert [await text_of(cached, request()) for _ in range(2)] == ["an answer"] * 2


async def test_a_model_that_the_catalogue_does_not_know_is_left_to_the_models() -> None:
    async with caching([["?"]]) as cached:
        assert await text_of(cached, request(model="unknown")) == "?"


async def test_it_is_ready_when_the_model_is() -> None:
    model = ScriptedLanguageModel([])
    async with caching(model) as cached:
        assert await cached.ready("small")
        model.unready.add("small")
        assert not await cached.ready("small")


async def test_answers_are_counted_by_where_they_came_from() -> None:
    registry = CollectorRegistry()
    async with caching(lambda _: ["an answer"], registry=registry) as cached:
        for _ in range(3):
            await said(cached, request())
        await said(cached, request(tenant=""))

    def count(kind: str) -> float | None:
        labels = {"model": "small", "kind": kind}
        return registry.get_sample_value("fleet_cache_answers_total", labels)

    assert (count("miss"), count("exact"), count("bypassed")) == (1, 2, 1)
    assert registry.get_sample_value("fleet_cache_stored_total") == 1
    assert (registry.get_sample_value("fleet_cache_stored_bytes_total") or 0) > 10


async def test_no_prompt_is_part_of_what_is_kept() -> None:
    kept: list[str] = []

    class Kept(MemoryAnswers):
        async def put(self, key: AnswerKey, answer: StoredAnswer, **more: object) -> Put:
            kept.append(f"{key} {answer.model_dump_json()} {more}")
            return Put(stored=True)

    secret = Message(role=Role.USER, content="my secret is xyzzy")
    async with caching([["Noted."]], Kept()) as cached:
        await said(cached, replace(request(), messages=(SYSTEM, secret)))
    assert len(kept) == 1
    assert "xyzzy" not in kept[0]
    assert "brief" not in kept[0]
