"""Two real Tritons: one of them stopped, killed, or ten times slower."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from orchestrator.adapters.triton import (
    TritonConnection,
    TritonLanguageModel,
    TritonModelControl,
    TritonReplicas,
    TritonReplicasControl,
    TritonRouter,
)
from orchestrator.adapters.triton.wire import InferRequest, Outputs
from orchestrator.domain.catalogue import Capability
from orchestrator.domain.errors import Unavailable
from orchestrator.domain.runs import RunState
from orchestrator.ports.model_control import LoadState
from orchestrator.triton import ServerNotFoundError, TritonConfig, TritonServer
from tests.orchestrator.adapters.triton.delay import delayed
from tests.orchestrator.adapters.triton.plans import CATALOGUE, answer, planned, text_of
from tests.orchestrator.worker.given import working

HERE = Path(__file__).parent
ECHO = CATALOGUE["echo"].model_copy(
    update={"capabilities": frozenset({Capability.CHAT, Capability.TOOLS}), "context_tokens": 4096}
)
PLAN = planned("Hel", "lo", finish="stop").messages[-1].content


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def second_triton(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TritonServer]:
    config = TritonConfig(
        repositories=(HERE / "models",),
        backends_dir=HERE / "backends",
        runtime_dir=tmp_path_factory.mktemp("second_triton"),
    )
    try:
        async with TritonServer(config) as server:
            yield server
    except ServerNotFoundError as missing:
        pytest.skip(str(missing))


class Counted(TritonConnection):
    """Counts the requests of each server."""

    requests: Counter[str]

    async def infer(self, request: InferRequest, *, sent: Sequence[str] = ()) -> Outputs:
        self.requests[self.url] += 1
        return await super().infer(request, sent=sent)

    async def stream(
        self, request: InferRequest, *, sent: Sequence[str] = (), session: str = ""
    ) -> AsyncGenerator[Outputs, None]:
        self.requests[self.url] += 1
        async for outputs in super().stream(request, sent=sent, session=session):
            yield outputs


def counted(*urls: str) -> tuple[TritonReplicas, Counter[str]]:
    requests = Counter[str]()

    def connect(url: str) -> TritonConnection:
        made = Counted(url)
        made.requests = requests
        return made

    return TritonReplicas(urls, connect=connect), requests


async def ask(replicas: TritonReplicas, *, count: int, at_once: int) -> None:
    """Embeds and chats, in sessions and without."""
    model, router = TritonLanguageModel(replicas, CATALOGUE), TritonRouter(replicas)
    numbers = iter(range(count))

    async def caller() -> None:
        for number in numbers:
            assert len(await router.embed([f"text {number}"])) == 1
            session = f"session {number % 10}" if number % 2 else ""
            assert (
                text_of(await answer(model, planned("hi", session=session, finish="stop"))) == "hi"
            )

    await asyncio.gather(*(caller() for _ in range(at_once)))


async def test_one_that_is_ten_times_slower_gets_under_15_percent_of_the_requests(
    small_triton: TritonServer, second_triton: TritonServer
) -> None:
    async with delayed(second_triton.grpc_url, by_s=0.5) as slow:
        replicas, requests = counted(small_triton.grpc_url, slow)
        async with replicas:
            await ask(replicas, count=150, at_once=8)
    assert requests[slow] > 0
    assert requests[slow] / requests.total() < 0.15


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
async def test_no_run_fails_and_no_request_when_one_is_stopped(
    small_triton: TritonServer, second_triton: TritonServer, how: signal.Signals
) -> None:
    pid = await _serves(second_triton)
    replicas, requests = counted(small_triton.grpc_url, second_triton.grpc_url)
    model = TritonLanguageModel(replicas, {"echo": ECHO})
    try:
        async with replicas, working(model, catalogue={"echo": ECHO}) as fleet:
            before = [await fleet.start(PLAN) for _ in range(40)]
            await fleet.until(lambda: _asked(requests, second_triton.grpc_url, 5))
            os.kill(pid, how)
            after = [await fleet.start(PLAN) for _ in range(40)]
            await ask(replicas, count=20, at_once=4)
            runs = [await fleet.ended(run) for run in (*before, *after)]
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    assert {run.state for run in runs} == {RunState.COMPLETED}
    assert {run.result for run in runs} == {"Hello"}


async def test_one_that_was_away_serves_again(
    small_triton: TritonServer, second_triton: TritonServer
) -> None:
    pid = await _serves(second_triton)
    replicas, requests = counted(small_triton.grpc_url, second_triton.grpc_url)
    async with replicas:
        os.kill(pid, signal.SIGKILL)
        await ask(replicas, count=8, at_once=4)
        asked = requests[second_triton.grpc_url]
        async with asyncio.timeout(100):
            while requests[second_triton.grpc_url] <= asked + 4:
                await ask(replicas, count=4, at_once=4)
                await asyncio.sleep(0.1)


async def test_models_are_loaded_and_unloaded_at_all_that_answer(
    small_triton: TritonServer, second_triton: TritonServer
) -> None:
    await _serves(second_triton)
    said: list[str] = []
    async with (
        TritonConnection(small_triton.grpc_url) as one,
        TritonConnection(second_triton.grpc_url) as two,
        TritonConnection("127.0.0.1:1") as away,
    ):
        first, second = TritonModelControl(one), TritonModelControl(two)
        both = TritonReplicasControl({"a:1": first, "b:1": second}, on_away=said.append)
        try:
            await both.unload("hinted_llm")
            assert [await _state(each) for each in (first, second, both)] == [
                LoadState.UNLOADED
            ] * 3
            await first.load("hinted_llm")
            (row,) = [row for row in await both.served() if row.model == "hinted_llm"]
            assert (row.state, row.reason) == (LoadState.FAILED, "not loaded at b:1")
        finally:
            await both.load("hinted_llm")
        assert await _state(both) is LoadState.READY
        assert not said
        some = TritonReplicasControl(
            {"a:1": first, "c:1": TritonModelControl(away)}, on_away=said.append
        )
        await some.load("hinted_llm")
        assert said == [
            "Triton at c:1 does not answer; once it does, give it the model with: "
            "fleet models load hinted_llm"
        ]
        with pytest.raises(Unavailable):
            await TritonReplicasControl(
                {"c:1": TritonModelControl(away)}, on_away=said.append
            ).served()


async def _state(control: TritonModelControl | TritonReplicasControl) -> LoadState:
    rows = await control.served()
    return next(row.state for row in rows if row.model == "hinted_llm")


async def _asked(requests: Counter[str], url: str, count: int) -> bool:
    return requests[url] >= count


async def _serves(server: TritonServer) -> int:
    """Returns the pid of the process that serves; of one just started the launcher has still to
    hear.
    """
    async with TritonConnection(server.grpc_url) as connection, asyncio.timeout(100):
        while True:
            pid = (await server.status()).pid
            if pid is not None and _is_alive(pid) and await connection.ready("echo_llm"):
                return pid
            await asyncio.sleep(0.1)


def _is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
