from __future__ import annotations

import asyncio

import grpc
import pytest

from orchestrator.domain.chat import (
    ChatFinished,
    FinishReason,
    MalformedToolCall,
    TextChunk,
    ToolCallChunk,
)
from orchestrator.domain.errors import Unavailable
from orchestrator.domain.events import AnswerCached, CacheHit
from orchestrator.domain.messages import Role, ToolCall
from orchestrator.domain.runs import Usage
from orchestrator.rpc.pb.fleet.v1 import agents_pb2, inference_pb2, runs_pb2, sessions_pb2
from tests.orchestrator.rpc.given import Fleet, kinds, refusal

LONG = "a question of more than twenty letters"
QUESTION = sessions_pb2.Message(role=sessions_pb2.Message.ROLE_USER, content="hi")


def generating(**fields: object) -> inference_pb2.GenerateRequest:
    return inference_pb2.GenerateRequest(
        **{"model": "llm_small", "messages": [QUESTION], **fields}  # type: ignore[arg-type]
    )


async def test_models_are_listed_with_their_prices_and_whether_they_answer(fleet: Fleet) -> None:
    fleet.language.unready = frozenset({"llm_large"})
    models = (await fleet.inference.ListModels(inference_pb2.ListModelsRequest())).models
    assert [(m.name, m.ready) for m in models] == [("llm_small", True), ("llm_large", False)]
    assert models[0].provider == "triton"
    assert list(models[0].capabilities) == ["chat", "tools"]
    assert models[0].output_micros_per_million_tokens == 200_000


async def test_each_text_is_routed_for_itself_in_order(fleet: Fleet) -> None:
    answer = await fleet.inference.Route(inference_pb2.RouteRequest(texts=["hi", LONG, "yo"]))
    assert [d.model for d in answer.decisions] == ["llm_small", "llm_large", "llm_small"]
    assert answer.decisions[1].complexity == {"hard": 1.0}
    assert [c.model for c in answer.decisions[0].candidates] == ["llm_small", "llm_large"]


async def test_a_route_keeps_to_the_policy_and_to_models_that_answer(fleet: Fleet) -> None:
    policy = agents_pb2.ModelPolicy(models=["llm_large"])
    request = inference_pb2.RouteRequest(texts=["hi"], policy=policy)
    assert (await fleet.inference.Route(request)).decisions[0].model == "llm_large"
    fleet.language.unready = frozenset({"llm_large"})
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await fleet.inference.Route(request)
    refused = refusal(error.value)
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "MODEL_UNAVAILABLE")


async def test_a_decision_tells_what_it_went_by(fleet: Fleet) -> None:
    weights = agents_pb2.PolicyWeights(quality=2, latency=0.5)
    policy = agents_pb2.ModelPolicy(weights=weights, models=["llm_large", "llm_small"])
    answer = await fleet.inference.Route(inference_pb2.RouteRequest(texts=[LONG], policy=policy))
    (decision,) = answer.decisions
    assert decision.policy.weights == weights
    assert list(decision.policy.models) == ["llm_large", "llm_small"]
    assert (decision.prompt_tokens, list(decision.capabilities)) == (len(LONG) // 3, ["chat"])
    assert decision.route_ms > 0
    small, large = decision.candidates
    assert decision.model == "llm_large"
    assert large.score == pytest.approx(0.8 * 0.9)
    assert small.score < large.score
    assert not small.HasField("waiting")


@pytest.mark.parametrize(
    ("weights", "field"),
    [
        (agents_pb2.PolicyWeights(), "policy.weights"),
        (agents_pb2.PolicyWeights(quality=-1), "policy.weights.quality"),
        (agents_pb2.PolicyWeights(cost=float("nan")), "policy.weights.cost"),
        (agents_pb2.PolicyWeights(quality=1, latency=float("inf")), "policy.weights.latency"),
        (agents_pb2.PolicyWeights(quality=1e300), "policy.weights.quality"),
    ],
    ids=["all zero", "negative", "NaN", "infinite", "too large"],
)
async def test_weights_that_weigh_nothing_are_refused_by_name(
    fleet: Fleet, weights: agents_pb2.PolicyWeights, field: str
) -> None:
    policy = agents_pb2.ModelPolicy(weights=weights)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await fleet.inference.Route(inference_pb2.RouteRequest(texts=["hi"], policy=policy))
    refused = refusal(error.value)
    assert (refused.code, refused.field) == (grpc.StatusCode.INVALID_ARGUMENT, field)
    assert refused.reason == "OUT_OF_BOUNDS"


async def test_generate_without_a_model_goes_where_the_router_says(fleet: Fleet) -> None:
    long = sessions_pb2.Message(role=sessions_pb2.Message.ROLE_USER, content=LONG)
    for question, model in ((QUESTION, "llm_small"), (long, "llm_large")):
        request = generating(model="", messages=[question])
        answers = [answer async for answer in fleet.inference.Generate(request)]
        assert kinds(answers) == ["route_decided", "text_delta", "text_delta", "finished"]
        assert answers[0].route_decided.model == model
        assert fleet.language.requests[-1].model == model


async def test_generate_routes_under_the_policy_of_its_request(fleet: Fleet) -> None:
    policy = agents_pb2.ModelPolicy(models=["llm_large"], cascade=True)
    answers = [a async for a in fleet.inference.Generate(generating(model="", policy=policy))]
    assert answers[0].route_decided.model == "llm_large"
    assert answers[-1].finished.usage.cost_micros > 2
    unknown = agents_pb2.ModelPolicy(models=["gpt"])
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await fleet.inference.Generate(generating(model="", policy=unknown)).read()
    assert refusal(error.value).field == "policy.models[0]"


async def test_generate_asks_the_next_model_when_the_routed_one_says_nothing(fleet: Fleet) -> None:
    gone = Unavailable("it is gone", reason="MODEL_UNAVAILABLE")
    fleet.language.failing["llm_small"] = gone
    answers = [a async for a in fleet.inference.Generate(generating(model=""))]
    assert kinds(answers)[:2] == ["route_decided", "route_decided"]
    again = answers[1].route_decided
    assert (again.model, again.candidates[0].excluded) == ("llm_large", "failed just now")
    fleet.language.failing["llm_large"] = gone
    with pytest.raises(grpc.aio.AioRpcError) as error:
        async for _ in fleet.inference.Generate(generating(model="")):
            pass
    assert refusal(error.value).reason == "MODEL_UNAVAILABLE"


async def test_generate_without_a_model_and_without_a_question_names_what_is_missing(
    fleet: Fleet,
) -> None:
    tool = sessions_pb2.Message.ROLE_TOOL
    said = sessions_pb2.Message(role=tool, content="42", tool_call_id="c1")
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await fleet.inference.Generate(generating(model="", messages=[said])).read()
    refused = refusal(error.value)
    assert (refused.code, refused.field) == (grpc.StatusCode.INVALID_ARGUMENT, "model")


async def test_texts_are_embedded_and_classified_in_order(fleet: Fleet) -> None:
    embedded = await fleet.inference.Embed(inference_pb2.EmbedRequest(texts=["a", "abc"]))
    assert [(len(e.values), e.values[0]) for e in embedded.embeddings] == [(384, 1.0), (384, 3.0)]
    classified = await fleet.inference.Classify(inference_pb2.ClassifyRequest(texts=["a", LONG]))
    assert [dict(c.complexity) for c in classified.classifications] == [
        {"simple": 1.0},
        {"hard": 1.0},
    ]


async def test_generate_streams_text_calls_and_the_end_with_its_cost(fleet: Fleet) -> None:
    call = ToolCall(call_id="c1", name="calculator", arguments_json="{}")
    usage = Usage(prompt_tokens=10, completion_tokens=5)
    fleet.language.chunks = [
        TextChunk("Let"),
        ToolCallChunk(call),
        ChatFinished(FinishReason.TOOL_CALLS, usage),
    ]
    request = generating(system_prompt="Be brief.", tools=["calculator"])
    answers = [answer async for answer in fleet.inference.Generate(request)]
    assert kinds(answers) == ["text_delta", "tool_call", "finished"]
    assert answers[1].tool_call.call.name == "calculator"
    assert answers[2].finished.finish_reason == "tool_calls"
    assert answers[2].finished.usage.cost_micros == 2  # (10 * 0.1 + 5 * 0.2), rounded up
    (sent,) = fleet.language.requests
    assert [m.role for m in sent.messages] == [Role.SYSTEM, Role.USER]
    assert [tool.name for tool in sent.tools] == ["calculator"]


async def test_leaving_a_generation_stops_the_engine(fleet: Fleet) -> None:
    fleet.language.chunks = [TextChunk("on and"), asyncio.Event()]
    call = fleet.inference.Generate(generating())
    await call.read()
    assert not fleet.language.closed.is_set()
    call.cancel()
    await asyncio.wait_for(fleet.language.closed.wait(), 10)


async def test_an_unreadable_tool_call_aborts_the_call(fleet: Fleet) -> None:
    fleet.language.chunks = [MalformedToolCall("no closing tag", Usage())]
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await fleet.inference.Generate(generating()).read()
    refused = refusal(error.value)
    assert (refused.code, refused.reason) == (grpc.StatusCode.ABORTED, "MALFORMED_TOOL_CALL")


async def test_an_answer_that_is_not_what_the_schema_asks_for_aborts_the_call(fleet: Fleet) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        [_ async for _ in fleet.inference.Generate(generating(output_schema_json="{}"))]
    refused = refusal(error.value)
    assert (refused.code, refused.reason) == (grpc.StatusCode.ABORTED, "INVALID_OUTPUT")


async def test_a_model_that_is_gone_is_unavailable_after_what_it_said(fleet: Fleet) -> None:
    gone = Unavailable("llm_small is gone", reason="MODEL_UNAVAILABLE", retry_after_s=1.5)
    fleet.language.chunks = [TextChunk("Hel"), gone]
    call = fleet.inference.Generate(generating())
    said = await call.read()
    assert isinstance(said, inference_pb2.GenerateResponse)
    assert said.text_delta.text == "Hel"
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call.read()
    refused = refusal(error.value)
    assert (refused.reason, refused.retry_after_s) == ("MODEL_UNAVAILABLE", 1.5)


async def test_a_generation_out_of_the_cache_says_so_and_costs_nothing(fleet: Fleet) -> None:
    usage = Usage(prompt_tokens=1_000_000, completion_tokens=1_000_000)
    cached = AnswerCached(model="llm_small", hit=CacheHit.SEMANTIC, similarity=0.95)
    fleet.language.chunks = [
        TextChunk("Yes."),
        ChatFinished(FinishReason.STOP, usage, cached=cached),
    ]
    said = [response async for response in fleet.inference.Generate(generating())]
    assert kinds(said) == ["text_delta", "answer_cached", "finished"]
    assert said[1].answer_cached.kind == runs_pb2.AnswerCached.KIND_SEMANTIC
    assert said[1].answer_cached.similarity == 0.95
    assert said[2].finished.usage.cost_micros == 0
    assert said[2].finished.usage.prompt_tokens == 1_000_000


async def test_a_generation_is_the_tenants_own(fleet: Fleet) -> None:
    _ = [response async for response in fleet.inference.Generate(generating())]
    assert [asked.tenant for asked in fleet.language.requests] == ["default"]
