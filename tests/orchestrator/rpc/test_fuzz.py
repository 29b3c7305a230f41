"""Whatever bytes are sent to whatever method: it is answered, and never as a defect."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.adapters.redis_state import open_redis_state
from tests.orchestrator.rpc.given import Fleet, serving
from tests.orchestrator.rpc.test_bad_input import METHODS, Method

HEALTH = ("/grpc.health.v1.Health/Check", False)
FINE = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.UNAVAILABLE,  # no model that fits a policy
    grpc.StatusCode.DEADLINE_EXCEEDED,  # watches of runs that nobody works on
    grpc.StatusCode.RESOURCE_EXHAUSTED,  # the queue, in the end
}

fuzzing = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
async def target(redis_url: str | None) -> AsyncIterator[Fleet]:
    opened = open_redis_state(redis_url, shards=4) if redis_url else None
    async with serving(opened, unary_limit_s=10.0, stream_limit_s=0.05) as fleet:
        yield fleet


async def code_of(fleet: Fleet, path: str, body: bytes, *, streams: bool) -> grpc.StatusCode:
    try:
        await fleet.send(path, body, streams=streams)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def bodies(method: Method) -> st.SearchStrategy[bytes]:
    """Messages of the method's type, and what becomes of them when a part is lost or flipped."""
    whole = messages(method.request).map(lambda m: m.SerializeToString())
    return st.one_of(whole, whole.flatmap(damaged))


def messages(kind: type[Message]) -> st.SearchStrategy[Message]:
    fields = {f.name: values(f) for f in kind.DESCRIPTOR.fields if not map_field(f)}
    return st.fixed_dictionaries({}, optional=fields).map(lambda chosen: kind(**chosen))


def values(field: Any) -> st.SearchStrategy[object]:
    one = single(field)
    return st.lists(one, max_size=3) if field.is_repeated else one


def single(field: Any) -> st.SearchStrategy[object]:
    if field.message_type is not None:
        return messages(GetMessageClass(field.message_type))
    kinds: dict[int, st.SearchStrategy[object]] = {
        FieldDescriptor.CPPTYPE_STRING: st.text(max_size=40)
        | st.sampled_from(["assistant", "assistant@1", "llm_small", "calculator", "default"]),
        FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
        FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 9),
        FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1) | st.integers(0, 5),
        FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1) | st.integers(0, 5),
        FieldDescriptor.CPPTYPE_DOUBLE: st.floats(),
        FieldDescriptor.CPPTYPE_FLOAT: st.floats(width=32),
        FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
        FieldDescriptor.CPPTYPE_ENUM: st.integers(-5, 9),
    }
    return kinds[field.cpp_type]


def map_field(field: Any) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def damaged(body: bytes) -> st.SearchStrategy[bytes]:
    cut = st.integers(0, len(body)).map(lambda n: body[:n])
    flipped = st.tuples(st.integers(0, max(len(body) - 1, 0)), st.binary(max_size=3)).map(
        lambda at: body[: at[0]] + at[1] + body[at[0] + 1 :]
    )
    return st.one_of(cut, flipped)


@pytest.mark.parametrize("rpc", METHODS)
@fuzzing
@given(data=st.data())
async def test_any_message_whole_or_damaged_is_answered(
    target: Fleet, rpc: str, data: st.DataObject
) -> None:
    method = METHODS[rpc]
    body = data.draw(bodies(method))
    assert await code_of(target, method.path, body, streams=method.streams) in FINE


@fuzzing
@given(
    method=st.sampled_from([(m.path, m.streams) for m in METHODS.values()] + [HEALTH]),
    body=st.binary(max_size=200),
)
async def test_any_bytes_are_answered(target: Fleet, method: tuple[str, bool], body: bytes) -> None:
    path, streams = method
    assert await code_of(target, path, body, streams=streams) in FINE
