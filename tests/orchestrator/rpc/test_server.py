from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from orchestrator.adapters.authenticators import ApiKeyAuthenticator
from orchestrator.domain.errors import Exhausted, InvalidInput, Unavailable
from orchestrator.rpc.pb.fleet.v1 import inference_pb2, runs_pb2
from tests.orchestrator.rpc.given import Fleet, refusal, serving, until

Code = grpc.StatusCode
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
EMBED = "/fleet.v1.InferenceService/Embed"
KEYS = {
    hashlib.sha256(key.encode()).hexdigest(): tenant
    for key, tenant in {"key-of-acme": "acme", "key-of-globex": "globex"}.items()
}


def bearer(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


def asking(request_id: str = "r1") -> runs_pb2.StartRunRequest:
    return runs_pb2.StartRunRequest(request_id=request_id, input="hi")


async def embed(fleet: Fleet, **options: Any) -> inference_pb2.EmbedResponse:
    return await fleet.inference.Embed(inference_pb2.EmbedRequest(texts=["hi"]), **options)


def health(fleet: Fleet) -> Any:
    return health_pb2_grpc.HealthStub(fleet.channel)


async def refused(call: Any) -> Any:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return refusal(error.value)


async def test_without_a_key_nothing_is_answered() -> None:
    async with serving(authenticator=ApiKeyAuthenticator(KEYS)) as fleet:
        for metadata in ((), bearer("wrong"), (("authorization", "Basic key-of-acme"),)):
            answer = await refused(embed(fleet, metadata=metadata))
            assert answer.code is Code.UNAUTHENTICATED
            assert "key-of" not in answer.message
        await embed(fleet, metadata=bearer("key-of-acme"))


async def test_another_tenants_things_are_not_found() -> None:
    async with serving(authenticator=ApiKeyAuthenticator(KEYS)) as fleet:
        acme, globex = bearer("key-of-acme"), bearer("key-of-globex")
        run = (await fleet.runs.StartRun(asking(), metadata=acme)).run
        get = runs_pb2.GetRunRequest(run_id=run.run_id)
        assert (await refused(fleet.runs.GetRun(get, metadata=globex))).code is Code.NOT_FOUND
        watch = runs_pb2.WatchRunRequest(run_id=run.run_id)
        stream = fleet.runs.WatchRun(watch, metadata=globex)
        assert (await refused(stream.read())).code is Code.NOT_FOUND
        into = runs_pb2.StartRunRequest(request_id="x", input="hi", session_id=run.session_id)
        assert (await refused(fleet.runs.StartRun(into, metadata=globex))).code is Code.NOT_FOUND
        assert not (await fleet.runs.ListRuns(runs_pb2.ListRunsRequest(), metadata=globex)).runs
        own = await fleet.runs.StartRun(asking(), metadata=globex)
        assert not own.deduplicated


async def test_health_and_reflection_need_no_key() -> None:
    keys = ApiKeyAuthenticator(KEYS)
    async with serving(authenticator=keys, reflection=True) as fleet:
        assert (await health(fleet).Check(health_pb2.HealthCheckRequest())).status == SERVING
        assert "fleet.v1.RunService" in await reflected(fleet)


async def reflected(fleet: Fleet) -> set[str]:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(fleet.channel)
    call = stub.ServerReflectionInfo()
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    services = (await call.read()).list_services_response.service
    await call.done_writing()
    return {service.name for service in services}


async def test_reflection_is_off_unless_asked_for(fleet: Fleet) -> None:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(fleet.channel)
    call = stub.ServerReflectionInfo()
    with suppress(grpc.aio.AioRpcError):  # the refusal may come before the request has left
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    assert await call.code() is Code.UNIMPLEMENTED


async def test_a_server_that_lets_everybody_in_listens_on_loopback_only() -> None:
    for address in ("0.0.0.0:0", "[::]:0", "192.0.2.1:50051", "example.org:50051"):
        with pytest.raises(InvalidInput, match="API keys"):
            async with serving(address=address):
                pass
    async with serving(address="0.0.0.0:0", authenticator=ApiKeyAuthenticator(KEYS)):
        pass


async def test_a_taken_port_is_said_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Unavailable, match=address):
            async with serving(address=address):
                pass


async def test_health_says_what_serves(fleet: Fleet) -> None:
    check = health(fleet).Check
    for service in ("", "fleet.v1.RunService", "fleet.v1.InferenceService"):
        assert (await check(health_pb2.HealthCheckRequest(service=service))).status == SERVING
    unknown = await refused(check(health_pb2.HealthCheckRequest(service="nope")))
    assert unknown.code is Code.NOT_FOUND
    fleet.server.set_serving(False)
    assert (await check(health_pb2.HealthCheckRequest())).status == NOT_SERVING


async def test_health_tells_every_watcher_also_after_one_has_left(fleet: Fleet) -> None:
    request = health_pb2.HealthCheckRequest()
    leaving, staying = health(fleet).Watch(request), health(fleet).Watch(request)
    assert (await leaving.read()).status == (await staying.read()).status == SERVING
    leaving.cancel()
    await until(lambda: in_flight(fleet, "/grpc.health.v1.Health/Watch") == 1)
    fleet.server.set_serving(False)
    assert (await staying.read()).status == NOT_SERVING
    staying.cancel()


async def test_a_draining_server_refuses_new_work_and_answers_the_rest(fleet: Fleet) -> None:
    run = (await fleet.runs.StartRun(asking())).run
    fleet.server.drain()
    assert (await health(fleet).Check(health_pb2.HealthCheckRequest())).status == NOT_SERVING
    for call in (
        fleet.runs.StartRun(asking("r2")),
        fleet.runs.Ask(asking("r2")).read(),
        fleet.runs.WatchRun(runs_pb2.WatchRunRequest(run_id=run.run_id)).read(),
    ):
        answer = await refused(call)
        assert (answer.code, answer.reason) == (Code.UNAVAILABLE, "DRAINING")
        assert answer.retry_after_s > 0
    assert (await fleet.runs.GetRun(runs_pb2.GetRunRequest(run_id=run.run_id))) == run


async def test_stopping_waits_for_open_calls(fleet: Fleet) -> None:
    fleet.embedder.gate = asyncio.Event()
    call = asyncio.ensure_future(embed(fleet))
    await until(lambda: in_flight(fleet, EMBED) == 1)
    stopping = asyncio.ensure_future(fleet.server.stop(30))
    await asyncio.sleep(0)
    fleet.embedder.gate.set()
    assert len((await call).embeddings) == 1
    await stopping


async def test_stopping_tells_health_first_and_waits_for_the_calls_in_hand(fleet: Fleet) -> None:
    fleet.embedder.gate = asyncio.Event()
    call = asyncio.ensure_future(embed(fleet))
    await until(lambda: in_flight(fleet, EMBED) == 1)
    watching = health(fleet).Watch(health_pb2.HealthCheckRequest())
    assert (await watching.read()).status == SERVING
    stopping = asyncio.ensure_future(fleet.server.stop(30))
    assert (await watching.read()).status == NOT_SERVING
    assert not call.done()
    fleet.embedder.gate.set()
    assert len((await call).embeddings) == 1
    await stopping


async def test_stopping_sends_watchers_elsewhere_when_its_time_is_over(fleet: Fleet) -> None:
    stream = fleet.runs.Ask(asking())
    await stream.read()
    await stream.read()
    await fleet.server.stop(0)
    answer = await refused(stream.read())
    assert (answer.code, answer.reason) == (Code.UNAVAILABLE, "DRAINING")


async def test_a_call_has_the_servers_deadline_when_it_has_none() -> None:
    async with serving(unary_limit_s=0.05, stream_limit_s=0.1) as fleet:
        fleet.embedder.gate = asyncio.Event()
        answer = await refused(embed(fleet))
        assert (answer.code, answer.reason) == (Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
        assert answer.metadata == {"limit_s": "0.05"}
        stream = fleet.runs.Ask(asking())
        with pytest.raises(grpc.aio.AioRpcError) as error:
            async for _ in stream:
                pass
        assert refusal(error.value).code is Code.DEADLINE_EXCEEDED


async def test_a_defect_is_answered_with_an_id_that_the_log_has(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    fleet.embedder.failure = ZeroDivisionError("secret detail")
    with caplog.at_level(logging.ERROR):
        answer = await refused(embed(fleet))
    assert (answer.code, answer.reason) == (Code.INTERNAL, "INTERNAL")
    assert "ZeroDivisionError" not in answer.message
    assert "secret detail" not in answer.message
    assert answer.metadata["error_id"] in answer.message
    (record,) = (r for r in caplog.records if r.name.startswith("orchestrator"))
    assert answer.metadata["error_id"] in record.getMessage()
    assert record.exc_info is not None


async def test_a_timeout_inside_is_a_defect_and_not_the_callers_deadline(fleet: Fleet) -> None:
    fleet.embedder.failure = TimeoutError("of some socket")
    assert (await refused(embed(fleet))).code is Code.INTERNAL


async def test_work_that_is_cancelled_inside_is_answered(fleet: Fleet) -> None:
    fleet.embedder.failure = asyncio.CancelledError()
    assert (await refused(embed(fleet, timeout=10))).code is Code.CANCELLED


async def test_a_full_queue_says_when_to_come_back(fleet: Fleet) -> None:
    fleet.embedder.failure = Exhausted("full", reason="QUEUE_FULL", retry_after_s=2.5)
    answer = await refused(embed(fleet))
    assert (answer.code, answer.reason) == (Code.RESOURCE_EXHAUSTED, "QUEUE_FULL")
    assert answer.retry_after_s == 2.5


async def test_a_long_error_message_in_any_script_still_reaches_the_caller(fleet: Fleet) -> None:
    fleet.embedder.failure = InvalidInput("ü" * 100_000, field="f" * 100_000)
    answer = await refused(embed(fleet))
    assert answer.code is Code.INVALID_ARGUMENT
    assert answer.message.startswith("üüü")


async def test_an_oversized_message_or_metadata_is_refused_as_such(fleet: Fleet) -> None:
    large = inference_pb2.EmbedRequest(texts=["x" * 5_000_000])
    assert (await refused(fleet.inference.Embed(large))).code is Code.RESOURCE_EXHAUSTED
    answer = await refused(embed(fleet, metadata=(("x-junk", "x" * 100_000),)))
    assert answer.code is Code.RESOURCE_EXHAUSTED
    await embed(fleet)


@pytest.mark.parametrize("method", [EMBED, "/grpc.health.v1.Health/Check"])
async def test_a_call_without_a_request_is_answered(fleet: Fleet, method: str) -> None:
    async def nothing() -> AsyncIterator[bytes]:
        none: tuple[bytes, ...] = ()
        for request in none:
            yield request

    channel: Any = fleet.channel
    answer = await refused(channel.stream_unary(method)(nothing(), timeout=10))
    assert (answer.code, answer.reason) == (Code.INVALID_ARGUMENT, "MALFORMED_REQUEST")


async def test_a_call_whose_request_never_comes_ends_at_the_servers_deadline() -> None:
    async with serving(unary_limit_s=0.05) as fleet:
        channel: Any = fleet.channel
        call = channel.stream_unary(EMBED)()
        assert (await refused(call)).code is Code.DEADLINE_EXCEEDED


async def test_what_is_no_reflection_request_is_an_invalid_argument() -> None:
    async with serving(reflection=True) as fleet:
        channel: Any = fleet.channel
        path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
        call = channel.stream_stream(path)()
        await call.write(b"\x0a\xff\xff")
        assert (await refused(call.read())).code is Code.INVALID_ARGUMENT


async def test_an_unknown_method_is_unimplemented(fleet: Fleet) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await fleet.send("/fleet.v1.RunService/Nope", b"", streams=False)
    assert error.value.code() is Code.UNIMPLEMENTED


async def test_calls_are_counted_by_method_and_code(fleet: Fleet) -> None:
    await embed(fleet)
    await refused(fleet.inference.Embed(inference_pb2.EmbedRequest()))
    await until(lambda: in_flight(fleet, EMBED) == 0)  # counted after the caller has its answer
    for code in ("OK", "INVALID_ARGUMENT"):
        labels = {"method": EMBED, "code": code}
        assert fleet.registry.get_sample_value("fleet_rpc_requests_total", labels) == 1
    observed = fleet.registry.get_sample_value(
        "fleet_rpc_duration_seconds_count", {"method": EMBED}
    )
    assert observed == 2


async def test_a_caller_that_leaves_is_counted_as_cancelled(fleet: Fleet) -> None:
    stream = fleet.runs.Ask(asking())
    await stream.read()
    assert fleet.registry.get_sample_value("fleet_rpc_open_watches") == 1
    stream.cancel()
    labels = {"method": "/fleet.v1.RunService/Ask", "code": "CANCELLED"}
    await until(lambda: fleet.registry.get_sample_value("fleet_rpc_requests_total", labels) == 1)
    assert fleet.registry.get_sample_value("fleet_rpc_open_watches") == 0


def in_flight(fleet: Fleet, method: str) -> float | None:
    return fleet.registry.get_sample_value("fleet_rpc_in_flight", {"method": method})


async def test_thousands_of_calls_at_once_are_all_answered() -> None:
    async with serving(max_streams_per_connection=4096) as fleet:
        # The first call brings the connection's limits, which a burst would not wait for.
        await embed(fleet)
        answered = await asyncio.gather(*(embed(fleet) for _ in range(3_000)))
        assert len(answered) == 3_000
        labels = {"method": "/fleet.v1.InferenceService/Embed", "code": "OK"}
        counted = fleet.registry.get_sample_value("fleet_rpc_requests_total", labels)
        assert counted == 3_001
