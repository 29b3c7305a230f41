from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.adapters.memory_state import open_memory_state
from orchestrator.adapters.memory_state.database import Database
from orchestrator.adapters.memory_state.ledger import MemoryLedger
from orchestrator.adapters.scripted_models import ScriptedLanguageModel
from orchestrator.api.inference import Generate, Inference
from orchestrator.domain.budgets import BudgetRule, Budgets, Period
from orchestrator.domain.chat import ChatFinished, TextChunk
from orchestrator.domain.errors import Conflict, Exhausted, InvalidInput, Unavailable
from orchestrator.domain.events import RouteDecided
from orchestrator.domain.messages import Message, Role
from orchestrator.domain.output_schema import OutputShape
from orchestrator.domain.runs import ModelCall
from orchestrator.domain.usage import Totals
from orchestrator.ports.ledger import Ledger, Reservation
from orchestrator.ports.models import LanguageModel
from orchestrator.ports.state import Limits
from orchestrator.ports.tools import ToolRegistry
from tests.orchestrator.rpc.given import (
    CATALOGUE,
    HardWhenLong,
    LengthEmbedder,
    OneTool,
    ScriptedLanguage,
)

QUESTION = Generate("llm_small", "", (Message(role=Role.USER, content="hi"),))

SCHEMA = (
    '{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], '
    '"additionalProperties": false}'
)
AS_JSON = replace(QUESTION, system_prompt="Be brief.", output_schema_json=SCHEMA)


def inference(language: LanguageModel, ledger: Ledger) -> Inference:
    return Inference(
        catalogue=CATALOGUE,
        language=language,
        classifier=HardWhenLong(),
        embedder=LengthEmbedder(),
        tools=ToolRegistry([OneTool()]),
        ledger=ledger,
    )


class SlowLedger(MemoryLedger):
    """Reserves at once, and replies when it is let."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(Database(limits=limits, now_ms=lambda: time.time_ns() // 1_000_000))
        self.reserved, self.replies, self.settled = (asyncio.Event() for _ in range(3))

    async def reserve(
        self, tenant: str, agent: str, micros: int, *, ttl_s: float = 300.0
    ) -> Reservation:
        reservation = await super().reserve(tenant, agent, micros, ttl_s=ttl_s)
        self.reserved.set()
        await self.replies.wait()
        return reservation

    async def settle(self, reservation: Reservation, calls: Sequence[ModelCall]) -> None:
        await super().settle(reservation, calls)
        self.settled.set()


class LedgerAway(SlowLedger):
    async def reserve(
        self, tenant: str, agent: str, micros: int, *, ttl_s: float = 300.0
    ) -> Reservation:
        raise Unavailable("the state store does not answer", reason="STORE_UNAVAILABLE")


class LedgerAwayAtTheEnd(SlowLedger):
    """Books nothing the first two times."""

    tries = 0

    async def settle(self, reservation: Reservation, calls: Sequence[ModelCall]) -> None:
        self.tries += 1
        if self.tries <= 2:
            raise Unavailable("the state store does not answer", reason="STORE_UNAVAILABLE")
        await super().settle(reservation, calls)


async def bill(ledger: Ledger) -> list[tuple[str, Totals]]:
    rows = await ledger.by_day("acme", [await ledger.today()])
    return [(row.model, row.totals) for row in rows]


async def test_a_generation_that_is_left_between_two_chunks_stops_the_engine_at_once() -> None:
    language = ScriptedLanguage()
    async with open_memory_state() as state:
        chunks = inference(language, state.ledger).generate(QUESTION, tenant="acme")
        assert await anext(chunks) == TextChunk("Hel")
        assert not language.closed.is_set()
        await chunks.aclose()
        assert language.closed.is_set()


async def test_what_had_come_of_an_answer_that_is_left_is_on_the_bill() -> None:
    language = ScriptedLanguageModel([["one two three ", "four"]])
    async with open_memory_state() as state:
        chunks = inference(language, state.ledger).generate(QUESTION, tenant="acme")
        await anext(chunks)
        await chunks.aclose()
        ((model, taken),) = await bill(state.ledger)
    assert (model, taken.calls) == ("llm_small", 1)
    assert (taken.prompt_tokens, taken.completion_tokens) == (1, 3)


async def test_an_answer_is_on_the_tenants_bill_and_its_reservation_is_given_back() -> None:
    rule = BudgetRule(limit_micros=1_000, period=Period.DAY)
    limits = Limits(budgets=Budgets(default=rule))
    async with open_memory_state(limits=limits) as state:
        chunks = inference(ScriptedLanguage(), state.ledger).generate(QUESTION, tenant="acme")
        said = [chunk async for chunk in chunks]
        ((_, taken),) = await bill(state.ledger)
        (budget,) = await state.ledger.budgets("acme")
    finished = said[-1]
    assert isinstance(finished, ChatFinished)
    assert taken.cost_micros == finished.usage.cost_micros > 0
    assert (budget.spent_micros, budget.reserved_micros) == (taken.cost_micros, 0)


async def test_a_tenant_that_has_spent_its_budget_is_refused_before_a_model_is_asked() -> None:
    rule = BudgetRule(limit_micros=0, period=Period.TOTAL)
    language = ScriptedLanguage()
    async with open_memory_state(limits=Limits(budgets=Budgets(default=rule))) as state:
        with pytest.raises(Exhausted, match="budget of tenant acme of 0 micros in all") as refused:
            await anext(inference(language, state.ledger).generate(QUESTION, tenant="acme"))
    assert (refused.value.reason, language.requests) == ("BUDGET", [])


async def test_a_second_answer_waits_its_turn_while_the_rest_of_the_budget_is_reserved() -> None:
    rule = BudgetRule(limit_micros=10, period=Period.TOTAL)
    async with open_memory_state(limits=Limits(budgets=Budgets(default=rule))) as state:
        asked = inference(ScriptedLanguage(), state.ledger)
        first = asked.generate(QUESTION, tenant="acme")
        await anext(first)
        with pytest.raises(Exhausted, match="reserved") as refused:
            await anext(asked.generate(QUESTION, tenant="acme"))
        await first.aclose()
        assert await anext(asked.generate(QUESTION, tenant="acme")) == TextChunk("Hel")
    assert (refused.value.reason, refused.value.retry_after_s is not None) == ("BUDGET", True)


async def test_who_leaves_before_the_reservation_is_known_leaves_nothing_reserved() -> None:
    rule = BudgetRule(limit_micros=1_000, period=Period.TOTAL)
    ledger = SlowLedger(Limits(budgets=Budgets(default=rule)))
    asked = inference(ScriptedLanguage(), ledger)

    async def ask() -> None:
        await anext(asked.generate(QUESTION, tenant="acme"))

    asking = asyncio.create_task(ask())
    await ledger.reserved.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    ledger.replies.set()
    async with asyncio.timeout(10):
        await ledger.settled.wait()
    (budget,) = await ledger.budgets("acme")
    assert (budget.spent_micros, budget.reserved_micros) == (0, 0)


async def test_a_ledger_that_is_away_is_not_taken_for_a_model_that_failed() -> None:
    routed = Generate("", "", QUESTION.messages)
    chunks = inference(ScriptedLanguage(), LedgerAway(Limits())).generate(routed, tenant="acme")
    assert isinstance(await anext(chunks), RouteDecided)
    with pytest.raises(Unavailable) as refused:
        await anext(chunks)
    assert refused.value.reason == "STORE_UNAVAILABLE"


async def test_with_a_schema_the_answer_is_its_json_as_a_whole() -> None:
    language = ScriptedLanguageModel([['```json\n{"n": ', "42}\n```"]])
    async with open_memory_state() as state:
        chunks = inference(language, state.ledger).generate(AS_JSON, tenant="acme")
        said = [chunk async for chunk in chunks]
    assert said[:-1] == [TextChunk('{"n":42}')]
    (asked,) = language.requests
    assert asked.output == OutputShape(json.loads(SCHEMA))
    assert asked.messages[0].role is Role.SYSTEM
    assert asked.messages[0].content.startswith("Be brief.")
    assert SCHEMA in asked.messages[0].content


@pytest.mark.parametrize("text", ["I can't", '{"n": "x"}', '{"n": 1, "more": 2}', ""])
async def test_an_answer_that_does_not_fit_its_schema_is_refused_and_charged(text: str) -> None:
    async with open_memory_state() as state:
        asked = inference(ScriptedLanguageModel([[text]]), state.ledger)
        with pytest.raises(Conflict, match="the answer of llm_small can't be used") as refused:
            await anext(asked.generate(AS_JSON, tenant="acme"))
        ((_, taken),) = await bill(state.ledger)
    assert (refused.value.reason, taken.calls) == ("INVALID_OUTPUT", 1)


@pytest.mark.parametrize(
    ("changed", "field", "match"),
    [
        ({"output_schema_json": "{"}, "output_schema_json", "is not JSON"),
        ({"output_schema_json": '{"type": "no"}'}, "output_schema_json", "not JSON Schema"),
        ({"tools": ("calculator",)}, "tools", "can't be offered with output_schema_json"),
    ],
)
async def test_a_schema_that_can_not_be_kept_to_is_refused_before_a_model_is_asked(
    changed: dict[str, Any], field: str, match: str
) -> None:
    language = ScriptedLanguageModel([])
    async with open_memory_state() as state:
        asked = inference(language, state.ledger)
        with pytest.raises(InvalidInput, match=match) as refused:
            await anext(asked.generate(replace(AS_JSON, **changed), tenant="acme"))
    assert (refused.value.field, language.requests) == (field, [])


async def test_an_answer_is_booked_when_the_ledger_that_was_away_is_back() -> None:
    ledger = LedgerAwayAtTheEnd(Limits())
    ledger.replies.set()
    [_ async for _ in inference(ScriptedLanguage(), ledger).generate(QUESTION, tenant="acme")]
    ((_, taken),) = await bill(ledger)
    assert (taken.calls, ledger.tries) == (1, 3)


async def test_a_model_that_breaks_off_is_not_paid() -> None:
    language = ScriptedLanguage([TextChunk("Hel"), Unavailable("gone", reason="MODEL_UNAVAILABLE")])
    async with open_memory_state() as state:
        with pytest.raises(Unavailable):
            [_ async for _ in inference(language, state.ledger).generate(QUESTION, tenant="acme")]
        assert await bill(state.ledger) == []
