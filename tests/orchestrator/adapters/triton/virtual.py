"""Triton servers that exist in a virtual time: what takes seconds there takes none here."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from typing import Self

from orchestrator.adapters.triton.connection import TritonConnection
from orchestrator.adapters.triton.errors import unavailable, unreachable
from orchestrator.adapters.triton.wire import InferRequest, Outputs, infer_request

ASKED = infer_request("m", [])


class Time:
    """Moves on when everything that can run has run."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._sleeping: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleeping, (self.now + seconds, next(self._order), woken))
        await woken

    async def run(self, *tasks: asyncio.Task[object]) -> None:
        """Until the tasks have ended; returns at once when they wait for something else."""
        while not all(task.done() for task in tasks):
            for _ in range(20):
                await asyncio.sleep(0)
            if not self._sleeping:
                return
            self.now, _, woken = heapq.heappop(self._sleeping)
            if not woken.done():
                woken.set_result(None)


class Server(TritonConnection):
    """Takes `takes_s` to begin an answer of `pieces` pieces, which follow at the same pace."""

    def __init__(self, url: str, time: Time, *, takes_s: float = 0.01, pieces: int = 3) -> None:
        super().__init__(url)
        self._time = time
        self.takes_s = takes_s
        self.pieces = pieces
        self.requests = 0
        self.sessions: Counter[str] = Counter()
        self.gone = False  # nobody listens
        self.silent = asyncio.Event()  # set: it says nothing any more
        self.sick: set[str] = set()  # models

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def infer(self, request: InferRequest, *, sent: Sequence[str] = ()) -> Outputs:
        await self._answer(request.model_name)
        return _output()

    async def stream(
        self,
        request: InferRequest,
        *,
        sent: Sequence[str] = (),
        session: str = "",
    ) -> AsyncGenerator[Outputs, None]:
        self.sessions[session] += 1
        for _ in range(self.pieces):
            await self._answer(request.model_name, counts=_ == 0)
            yield _output()

    async def alive(self) -> bool:
        return not self.gone and not self.silent.is_set()

    async def ready(self, model: str) -> bool:
        return await self.alive() and model not in self.sick

    async def max_batch_size(self, model: str) -> int:
        await self._answer(model)
        return 8

    async def _answer(self, model: str, *, counts: bool = True) -> None:
        self.requests += counts
        if self.silent.is_set():
            await asyncio.Event().wait()
        if self.gone:
            raise unreachable(model)
        if model in self.sick:
            raise unavailable(model, "its engine died")
        await self._time.sleep(self.takes_s)
        if self.gone:
            raise unreachable(model)


def _output() -> Outputs:
    return Outputs(type("Response", (), {"outputs": (), "raw_output_contents": ()}))
