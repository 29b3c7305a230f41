"""What the service makes of a provider's failures."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from orchestrator.adapters.provider_connection import ProviderConnection
from orchestrator.domain.chat import ChatFinished, FinishReason
from orchestrator.domain.errors import FleetError, InvalidInput, Remedy, Unavailable
from orchestrator.domain.messages import Message, Role
from orchestrator.domain.runs import Usage
from tests.orchestrator.adapters.providers.dialects import (
    ANTHROPIC,
    ASKED,
    DIALECTS,
    MODEL,
    OPENAI,
    Dialect,
    ask,
)
from tests.scripted_http import Ends, Reply, ScriptedServer, event, failing

both = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)


@dataclass(frozen=True)
class Case:
    name: str
    status: int
    kind: str
    message: str = "no"
    more: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    error: type[FleetError] = Unavailable
    reason: str = "MODEL_UNAVAILABLE"
    remedy: Remedy = Remedy.RETRY_HERE
    wait: float | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


CASES = (
    Case(
        "429 with seconds",
        *(429, "rate_limit_error"),
        headers={"Retry-After": "7"},
        reason="RATE_LIMITED",
        wait=7,
    ),
    Case(
        "429 with milliseconds",
        *(429, "rate_limit_error"),
        headers={"retry-after-ms": "250", "retry-after": "1"},
        reason="RATE_LIMITED",
        wait=0.25,
    ),
    Case(
        "429 with a limit that is used up",
        *(429, "rate_limit_exceeded"),
        headers={
            "x-ratelimit-remaining-requests": "12",
            "x-ratelimit-reset-requests": "8h",
            "x-ratelimit-remaining-tokens": "0",
            "x-ratelimit-reset-tokens": "1m30.5s",
        },
        reason="RATE_LIMITED",
        wait=90.5,
    ),
    Case("429 with nothing", 429, "rate_limit_error", reason="RATE_LIMITED"),
    Case("429, nothing left to pay with", 429, "insufficient_quota", remedy=Remedy.TRY_ANOTHER),
    Case("402", 402, "billing_error", remedy=Remedy.TRY_ANOTHER),
    Case("500", 500, "server_error"),
    Case(
        "500 beside limits that have nothing to do with it",
        *(500, "server_error"),
        headers={
            "x-ratelimit-remaining-requests": "9999",
            "x-ratelimit-reset-requests": "8.64s",
            "anthropic-ratelimit-requests-reset": "2999-10-21T07:29:00Z",
        },
    ),
    Case("502", 502, "bad_gateway"),
    Case("504", 504, "timeout_error"),
    Case("408", 408, "timeout"),
    Case("503", 503, "overloaded", headers={"Retry-After": "3"}, remedy=Remedy.TRY_ANOTHER, wait=3),
    Case("529", 529, "overloaded_error", remedy=Remedy.TRY_ANOTHER),
    Case("401", 401, "authentication_error", remedy=Remedy.TRY_ANOTHER),
    Case("403", 403, "permission_error", remedy=Remedy.TRY_ANOTHER),
    Case("404", 404, "not_found_error", remedy=Remedy.TRY_ANOTHER),
    Case(
        "an unknown model as a bad request",
        *(400, "invalid_request_error"),
        more={"code": "model_not_found"},
        remedy=Remedy.TRY_ANOTHER,
    ),
    Case(
        "a bad request",
        *(400, "invalid_request_error", "top_p must be below 1"),
        error=InvalidInput,
        reason="INVALID_FIELD",
        remedy=Remedy.GIVE_UP,
    ),
    Case(
        "422",
        *(422, "unprocessable", "tools.0: wrong"),
        error=InvalidInput,
        reason="INVALID_FIELD",
        remedy=Remedy.GIVE_UP,
    ),
    Case(
        "too long, as OpenAI says it",
        *(400, "invalid_request_error"),
        "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens "
        "(8000 in the messages, 1000 in the completion). Please reduce the length.",
        more={"code": "context_length_exceeded"},
        error=InvalidInput,
        reason="CONTEXT_LENGTH",
        remedy=Remedy.GIVE_UP,
        metadata={"prompt_tokens": "8000", "limit_tokens": "7192", "field": "messages"},
    ),
    Case(
        "too long, as vLLM says it",
        *(400, "BadRequestError"),
        "This model's maximum context length is 2048 tokens. However, you requested 100 output "
        "tokens and your prompt contains at least 1949 input tokens, for a total of at least 2049.",
        error=InvalidInput,
        reason="CONTEXT_LENGTH",
        remedy=Remedy.GIVE_UP,
        metadata={"prompt_tokens": "1949", "limit_tokens": "1948", "field": "messages"},
    ),
    Case(
        "too long for vLLM to count, so that an estimate has to do",
        *(400, "BadRequestError"),
        "This model's maximum context length is 5 tokens. However, your prompt contains 99 "
        "characters (more than 80 characters, which is the upper bound for 5 input tokens).",
        error=InvalidInput,
        reason="CONTEXT_LENGTH",
        remedy=Remedy.GIVE_UP,
        metadata={"prompt_tokens": "11", "limit_tokens": "5", "field": "messages"},
    ),
    Case(
        "too long, as Anthropic says it",
        *(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
        error=InvalidInput,
        reason="CONTEXT_LENGTH",
        remedy=Remedy.GIVE_UP,
        metadata={"prompt_tokens": "210000", "limit_tokens": "200000", "field": "messages"},
    ),
    Case(
        "too long with its answer, as Anthropic says it",
        *(400, "invalid_request_error"),
        "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease",
        error=InvalidInput,
        reason="CONTEXT_LENGTH",
        remedy=Remedy.GIVE_UP,
        metadata={"prompt_tokens": "190000", "limit_tokens": "180000", "field": "messages"},
    ),
    Case(
        "too long, as llama.cpp says it",
        *(400, "exceed_context_size_error", "the request exceeds the available context size"),
        more={"n_prompt_tokens": 5000, "n_ctx": 4096},
        error=InvalidInput,
        reason="CONTEXT_LENGTH",
        remedy=Remedy.GIVE_UP,
        metadata={"prompt_tokens": "5000", "limit_tokens": "4096", "field": "messages"},
    ),
    Case(
        "413",
        *(413, "request_too_large"),
        error=InvalidInput,
        reason="CONTEXT_LENGTH",
        remedy=Remedy.GIVE_UP,
        metadata={"field": "messages"},
    ),
)


@both
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_refusal_is_classified(dialect: Dialect, case: Case) -> None:
    reply = dialect.refusing(case.status, case.kind, case.message, case.headers, **case.more)
    request = replace(ASKED)
    async with ScriptedServer([reply]) as server, dialect.connected(server) as models:
        with pytest.raises(case.error) as raised:
            await ask(models, request)

    assert raised.value.reason == case.reason
    assert raised.value.remedy is case.remedy
    assert raised.value.retry_after_s == case.wait
    assert raised.value.metadata == case.metadata
    assert len(server.requests) == 1  # whether to try again is not the SDK's business
    assert request.meter.usage == Usage()  # nobody pays for what was refused


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:27:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "inf"}, None),
        (
            {
                "anthropic-ratelimit-input-tokens-remaining": "0",
                "anthropic-ratelimit-input-tokens-reset": "2026-10-21T07:28:12Z",
                "anthropic-ratelimit-requests-reset": "2026-10-21T07:29:00Z",
            },
            12.0,
        ),
    ],
)
@both
async def test_a_wait_is_read_from_dates_too(
    dialect: Dialect, headers: dict[str, str], wait: float | None
) -> None:
    now = 1_792_567_680.0  # 2026-10-21T07:28:00Z
    reply = dialect.refusing(429, "rate_limit_error", headers=headers)
    async with ScriptedServer([reply]) as server:
        settings = ProviderConnection(name="far", base_url=server.url + dialect.suffix)
        kind = type(dialect.models(settings, {}))
        async with kind(settings, {"clever": MODEL}, wall_clock=lambda: now) as models:
            with pytest.raises(Unavailable) as raised:
                await ask(models)

    assert raised.value.retry_after_s == wait


@both
@pytest.mark.parametrize("status", [200, 302, 400, 404, 500, 502, 503])
async def test_a_page_instead_of_an_answer_is_told_by_its_status(
    dialect: Dialect, status: int
) -> None:
    page = failing(status, "<html><body>secret internals</body></html>")
    async with ScriptedServer([page]) as server, dialect.connected(server) as models:
        with pytest.raises(FleetError) as raised:
            await ask(models)

    assert "secret" not in raised.value.message
    assert status == 200 or f"answered {status}" in raised.value.message


@both
@pytest.mark.parametrize("ends", Ends)
async def test_a_cut_stream_may_be_tried_again_here(dialect: Dialect, ends: Ends) -> None:
    begun = dialect.answer("Ray", "leigh")[:4]
    async with (
        ScriptedServer([Reply([*begun, ends])]) as server,
        dialect.connected(server) as models,
    ):
        with pytest.raises(Unavailable, match="broke") as raised:
            await ask(models)

    assert raised.value.remedy is Remedy.RETRY_HERE


@both
@pytest.mark.parametrize("ends", Ends)
async def test_a_connection_that_ends_without_an_answer_may_be_tried_again(
    dialect: Dialect, ends: Ends
) -> None:
    async with ScriptedServer([Reply(before=ends)]) as server, dialect.connected(server) as models:
        with pytest.raises(Unavailable, match="broke the connection off") as raised:
            await ask(models)

    assert raised.value.remedy is Remedy.RETRY_HERE


@both
async def test_nobody_listening_may_be_tried_again_here(dialect: Dialect) -> None:
    async with ScriptedServer([Reply()]) as server:
        models = dialect.connected(server)
    async with models:
        with pytest.raises(Unavailable, match="can't be reached") as raised:
            await ask(models)
        assert not await models.ready("clever")

    assert raised.value.remedy is Remedy.RETRY_HERE


@both
@pytest.mark.parametrize("answered", [False, True], ids=["no status", "a status"])
async def test_a_slow_first_byte_sends_the_request_elsewhere(
    dialect: Dialect, answered: bool
) -> None:
    never = asyncio.Event()
    reply = Reply([never]) if answered else Reply(before=never)
    async with (
        ScriptedServer([reply]) as server,
        dialect.connected(server, first_byte_s=0.1) as models,
    ):
        with pytest.raises(Unavailable, match=r"did not begin to answer within 0\.1 s") as raised:
            await ask(models)
        await asyncio.wait_for(server.client_left.wait(), 5)

    assert raised.value.remedy is Remedy.TRY_ANOTHER


@both
async def test_silence_within_an_answer_ends_it(dialect: Dialect) -> None:
    begun = dialect.answer("Ray", "leigh")[:4]
    async with (
        ScriptedServer([Reply([*begun, asyncio.Event()])]) as server,
        dialect.connected(server, between_chunks_s=0.1) as models,
    ):
        with pytest.raises(Unavailable, match=r"fell silent in its answer for 0\.1 s") as raised:
            await ask(models)
        await asyncio.wait_for(server.client_left.wait(), 5)

    assert raised.value.remedy is Remedy.RETRY_HERE


@both
async def test_a_reader_who_takes_long_is_no_silence_of_the_provider(dialect: Dialect) -> None:
    more = asyncio.Event()
    parts = dialect.answer("Ray", "leigh")
    async with (
        ScriptedServer([Reply([*parts[:4], more, *parts[4:]])]) as server,
        dialect.connected(server, between_chunks_s=0.5) as models,
        aclosing(models.chat(ASKED)) as chunks,
    ):
        assert await anext(chunks)
        await asyncio.sleep(0.6)
        asyncio.get_running_loop().call_later(0.05, more.set)
        *_, last = [chunk async for chunk in chunks]

    assert isinstance(last, ChatFinished)


@both
async def test_an_answer_without_end_is_ended(dialect: Dialect) -> None:
    begun = dialect.answer("Ray", "leigh")[:4]
    async with (
        ScriptedServer([Reply([*begun, asyncio.Event()])]) as server,
        dialect.connected(server, whole_s=0.2) as models,
    ):
        with pytest.raises(Unavailable, match=r"did not end its answer within 0\.2 s"):
            await ask(models)


@pytest.mark.parametrize(
    ("dialect", "kind", "reason", "remedy"),
    [
        (ANTHROPIC, "overloaded_error", "MODEL_UNAVAILABLE", Remedy.TRY_ANOTHER),
        (ANTHROPIC, "api_error", "MODEL_UNAVAILABLE", Remedy.RETRY_HERE),
        (ANTHROPIC, "rate_limit_error", "RATE_LIMITED", Remedy.RETRY_HERE),
        (OPENAI, "server_error", "MODEL_UNAVAILABLE", Remedy.RETRY_HERE),
        (OPENAI, "rate_limit_exceeded", "RATE_LIMITED", Remedy.RETRY_HERE),
    ],
)
async def test_an_error_inside_of_a_stream_is_classified_by_its_name(
    dialect: Dialect, kind: str, reason: str, remedy: Remedy
) -> None:
    parts = [*dialect.answer("Ray", "leigh")[:4], dialect.failing_inside(kind, "no")]
    async with ScriptedServer([Reply(parts)]) as server, dialect.connected(server) as models:
        with pytest.raises(Unavailable) as raised:
            await ask(models)

    assert (raised.value.reason, raised.value.remedy) == (reason, remedy)


async def test_vllms_errors_inside_of_a_stream_have_their_status_as_code() -> None:
    error = {"error": {"message": "bad", "type": "Odd", "param": None, "code": 400}}
    async with (
        ScriptedServer([Reply([event(error)])]) as server,
        OPENAI.connected(server) as models,
    ):
        with pytest.raises(InvalidInput):
            await ask(models)


@both
async def test_a_reason_that_quotes_the_prompt_is_withheld(dialect: Dialect) -> None:
    told = "My account\u200bnumber is 4711-0815-2342"
    request = replace(ASKED, messages=(Message(role=Role.USER, content=told),))
    quoting = f"messages.0: 'account\u200b number is\n4711-0815-2342' {'is wrong ' * 50}"
    reply = dialect.refusing(400, "invalid_request_error", quoting)
    async with ScriptedServer([reply]) as server, dialect.connected(server) as models:
        with pytest.raises(InvalidInput, match="withheld") as raised:
            await ask(models, request)

    assert "4711" not in raised.value.message


@both
async def test_a_reason_can_not_draw_on_a_terminal(dialect: Dialect) -> None:
    reply = dialect.refusing(400, "invalid_request_error", "wrong\x1b[2J \u202eyaw")
    async with ScriptedServer([reply]) as server, dialect.connected(server) as models:
        with pytest.raises(InvalidInput, match=r"wrong \[2J yaw"):
            await ask(models)


async def test_a_parameter_that_a_model_does_not_take_is_left_out_from_then_on() -> None:
    """As OpenAI's reasoning models refuse a temperature, and older servers the newer limit."""

    def strict(received: Any) -> Reply:
        for name, code in (
            ("temperature", "unsupported_value"),
            ("max_tokens", "unsupported_parameter"),
        ):
            if name in received.json:
                return OPENAI.refusing(400, "invalid_request_error", param=name, code=code)
        return OPENAI.reply("Ray")

    async with ScriptedServer(strict) as server, OPENAI.connected(server) as models:
        first, second = await ask(models), await ask(models)

    assert (first.text, second.text) == ("Ray", "Ray")
    assert first.finished.reason is FinishReason.STOP
    assert len(server.requests) == 4
    assert server.requests[-1].json["max_completion_tokens"] == MODEL.max_new_tokens


async def test_requests_that_learn_at_the_same_time_what_is_not_taken_are_all_answered() -> None:
    both_asked = asyncio.Event()

    def strict(received: Any) -> Reply:
        if "temperature" not in received.json:
            return OPENAI.reply("Ray")
        if len(server.requests) > 1:
            both_asked.set()
        refusal: dict[str, Any] = {"param": "temperature", "code": "unsupported_value"}
        return replace(OPENAI.refusing(400, "invalid_request_error", **refusal), before=both_asked)

    async with ScriptedServer(strict) as server, OPENAI.connected(server) as models:
        answers = await asyncio.gather(ask(models), ask(models))

    assert [answer.text for answer in answers] == ["Ray", "Ray"]


async def test_a_parameter_that_the_request_needs_is_not_left_out() -> None:
    reply = OPENAI.refusing(
        400, "invalid_request_error", param="stop", code="unsupported_parameter"
    )
    async with ScriptedServer([reply]) as server, OPENAI.connected(server) as models:
        with pytest.raises(InvalidInput):
            await ask(models)

    assert len(server.requests) == 1
