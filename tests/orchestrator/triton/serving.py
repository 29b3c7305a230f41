"""A served repository of three small models, and questions to it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from orchestrator.triton import Kind, TritonConfig, TritonEvent, TritonServer, WatchPolicy
from orchestrator.triton.leftovers import Stub, find_stubs

HERE = Path(__file__).parent
REPOSITORIES = (HERE / "models", HERE / "ensembles")
POLICY = WatchPolicy(poll_s=0.1, probe_every_s=0.2, probe_timeout_s=2.0, probes_failed=3)
PATIENCE_S = 120.0


@dataclass
class Serving:
    server: TritonServer
    events: list[TritonEvent] = field(default_factory=list)

    def kinds(self, model: str | None = None) -> list[Kind]:
        return [e.kind for e in self.events if model is None or e.model == model]

    def stub(self, model: str) -> Stub:
        return next(s for s in find_stubs(self.server.shm_prefix) if s.model == model)

    def shared_memory(self) -> list[str]:
        return [p.name for p in Path("/dev/shm").glob(f"{self.server.shm_prefix}*")]

    async def ask(self, model: str) -> list[float]:
        async with InferenceServerClient(self.server.grpc_url) as client:
            result = await client.infer(model, [tensor((1, 2))], client_timeout=5)
            values: list[float] = result.as_numpy("Y").ravel().tolist()
            return values

    async def answers(self, model: str) -> bool:
        try:
            await self.ask(model)
        except InferenceServerException:
            return False
        return True

    async def stream(self, model: str) -> AsyncIterator[list[float]]:
        """
        Raises:
            InferenceServerException: the stream ended with an error.
        """

        async def requests() -> AsyncIterator[dict[str, object]]:
            yield {"model_name": model, "inputs": [tensor((2,))]}

        async with InferenceServerClient(self.server.grpc_url) as client:
            async for result, error in client.stream_infer(requests()):
                if error:
                    raise error
                yield result.as_numpy("Y").tolist()


def tensor(shape: tuple[int, ...]) -> InferInput:
    given = InferInput("X", list(shape), "FP32")
    given.set_data_from_numpy(np.arange(1, 3, dtype=np.float32).reshape(shape))
    return given


@asynccontextmanager
async def serve(
    runtime: Path, *, repositories: tuple[Path, ...] = REPOSITORIES, **more: Any
) -> AsyncIterator[Serving]:
    """`more` are other fields of the TritonConfig."""
    events: list[TritonEvent] = []
    config = TritonConfig(
        repositories=repositories, runtime_dir=runtime, auto_complete=False, **more
    )
    async with TritonServer(config, on_event=events.append, policy=POLICY) as server:
        yield Serving(server, events)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not await condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:g} s: {condition}"
        await asyncio.sleep(0.1)
