"""One try of a call: checked, within its tool's places, breaker and time, and made safe."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from orchestrator.domain.messages import ToolCall
from orchestrator.domain.tools import Outcome, ToolResult, ToolSpec, failure
from orchestrator.execution.arguments import ArgumentReader, BadArguments, BadSchema
from orchestrator.execution.breaker import Breaker, BreakerPolicy, Resting
from orchestrator.execution.places import Places, PlacesTaken, WaitingRoom
from orchestrator.ports.tools import ToolRegistry
from orchestrator.toolbox.decision import Busy
from orchestrator.toolbox.output import DEFAULT_MAX_BYTES, shown

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """`max_waiting` calls may wait for a place at their tool; more go back to the queue.

    A source knows best what became of its call: after the timeout it has `grace_s` to say it.
    """

    max_output_bytes: int = DEFAULT_MAX_BYTES
    max_waiting: int = 2
    grace_s: float = 0.5
    breaker: BreakerPolicy = BreakerPolicy()


class ToolRunner:
    def __init__(
        self,
        tools: ToolRegistry,
        settings: RunnerSettings = RunnerSettings(),
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tools = tools
        self._settings = settings
        self._now = now
        self._arguments = ArgumentReader()
        self._room = WaitingRoom(settings.max_waiting)
        self._places: dict[str, Places] = {}
        self._breakers: dict[str, Breaker] = {}

    async def run(
        self, spec: ToolSpec, call: ToolCall, *, key: str, remaining_s: float
    ) -> ToolResult | Busy:
        """Makes one try, in the tool's timeout and what remains of the run's time."""
        try:
            written = self._arguments.read(spec, call.arguments_json)
        except BadArguments as bad:
            return self._safe(failure(str(bad)))
        except BadSchema as bad:
            log.error("%s", bad)  # noqa: TRY400
            return self._safe(failure(f"{call.name} can't be called: its schema is wrong"))
        call = call.model_copy(update={"arguments_json": written})
        timeout_s = min(spec.timeout_s, remaining_s)
        ends = asyncio.get_running_loop().time() + timeout_s
        places = self._places.setdefault(call.name, Places(spec.concurrency, self._room))
        try:
            async with places.taken(until=ends):
                left_s = ends - asyncio.get_running_loop().time()
                result = await self._admitted(spec, call, key, left_s)
        except PlacesTaken:
            return Busy()
        return self._safe(result)

    async def _admitted(
        self, spec: ToolSpec, call: ToolCall, key: str, timeout_s: float
    ) -> ToolResult:
        breaker = self._breakers.setdefault(
            call.name, Breaker(self._settings.breaker, now=self._now)
        )
        # Twice the grace: its own end, if there is one, comes first.
        admitted = breaker.admit(within_s=timeout_s + 2 * self._settings.grace_s)
        if isinstance(admitted, Resting):
            return failure(
                f"{call.name} is resting after it failed several times; it may work later",
                Outcome.TRANSIENT,
                retry_after_s=min(admitted.wait_s, spec.retry.cap_s),
            )
        judge = breaker.withdrawn
        try:
            result = await self._called(call, key, timeout_s)
            if result.outcome in (Outcome.OK, Outcome.FAILED):
                judge = breaker.succeeded
            elif timeout_s >= spec.timeout_s / 2:  # else it hardly had a chance
                judge = breaker.failed
        finally:
            judge(admitted)
        return result

    async def _called(self, call: ToolCall, key: str, timeout_s: float) -> ToolResult:
        try:
            async with asyncio.timeout(timeout_s + self._settings.grace_s):
                return await self._tools.call(call, key=key, timeout_s=timeout_s)
        except TimeoutError:
            return failure(f"{call.name} took longer than {timeout_s:.3g} s", Outcome.UNKNOWN)
        except (Exception, SystemExit) as defect:  # noqa: BLE001 - whatever it does, its run goes on
            log.error("tool %s failed: %s", call.name, type(defect).__name__)  # noqa: TRY400
            return failure(f"{call.name} failed", Outcome.UNKNOWN)

    def _safe(self, result: ToolResult) -> ToolResult:
        return replace(
            result, content=shown(result.content, max_bytes=self._settings.max_output_bytes)
        )
