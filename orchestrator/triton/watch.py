"""Keeps a server answering: its process, its liveness, and the Python process of each model."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from orchestrator.triton.backoff import Backoff
from orchestrator.triton.control import READY
from orchestrator.triton.errors import ControlError, TritonError
from orchestrator.triton.events import Kind
from orchestrator.triton.launch import Launcher
from orchestrator.triton.leftovers import SHM, Stub, find_stubs
from orchestrator.triton.process import ServerProcess
from orchestrator.triton.serverlog import one_sentence
from orchestrator.triton.stubs import StubLedger

# Each reload after a stub's death leaves a thread and a mapping behind in the server.
MAX_RELOADS_PER_PROCESS = 20

Emit = Callable[[Kind, str, str | None], None]


@dataclass(frozen=True, slots=True)
class WatchPolicy:
    poll_s: float = 0.5
    probe_every_s: float = 1.0
    probe_timeout_s: float = 2.0
    probes_failed: int = 4
    reload_timeout_s: float = 120.0


@dataclass(slots=True)
class Watcher:
    launcher: Launcher
    process: ServerProcess
    emit: Emit
    policy: WatchPolicy = field(default_factory=WatchPolicy)
    restarts: int = 0
    reloads: int = 0
    # The models to load again, and when.
    _due: dict[str, float] = field(default_factory=dict)
    _backoffs: dict[str, Backoff] = field(default_factory=dict)
    _restart_backoff: Backoff = field(default_factory=Backoff)
    _ledger: StubLedger = field(default_factory=StubLedger)
    # A request for a load holds a thread, and the probes need one too.
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(3))
    _reloads_here: int = 0
    _failed_probes: int = 0
    _next_probe: float = 0.0

    async def run(self) -> None:
        """Never returns; cancel it."""
        async with asyncio.TaskGroup() as reloads:
            while True:
                if await self.process.exited_within(self.policy.poll_s):
                    await self._restart(Kind.SERVER_DIED, f"tritonserver ended ({self._exit()})")
                elif await self._is_hung():
                    failed = f"tritonserver did not answer {self.policy.probes_failed} probes"
                    await self._restart(Kind.SERVER_HUNG, failed)
                else:
                    await self._tend_models(reloads)

    async def _is_hung(self) -> bool:
        now = time.monotonic()
        if now < self._next_probe:
            return False
        self._next_probe = now + self.policy.probe_every_s
        if await self.launcher.control.is_live(timeout_s=self.policy.probe_timeout_s):
            self._failed_probes = 0
            return False
        self._failed_probes += 1
        return self._failed_probes >= self.policy.probes_failed

    async def _tend_models(self, reloads: asyncio.TaskGroup) -> None:
        try:
            for stub in await self._dead_stubs():
                await self._on_dead_stub(stub)
        except ControlError:
            # The server is going away or hangs: the next turn sees which.
            return
        for model in [m for m, due in self._due.items() if due <= time.monotonic()]:
            del self._due[model]
            # Beside the watch, which must see a death or a hang also while a model loads.
            reloads.create_task(self._reload(model, self.process))

    async def take_stock(self) -> list[Stub]:
        """Sees which stubs run; returns those that ran before and do not now.

        First called before anyone is told that the server serves: what dies then is missed.
        """
        alive = await asyncio.to_thread(find_stubs, self.launcher.runtime.shm_prefix)
        return self._ledger.observe(alive)

    async def _dead_stubs(self) -> list[Stub]:
        missing = await self.take_stock()
        if not missing:
            return []
        ready = {s.name for s in await self.launcher.control.index() if s.state == READY}
        return self._ledger.confirm(missing, ready)

    async def _on_dead_stub(self, stub: Stub) -> None:
        decoupled = await self.launcher.control.is_decoupled(stub.model)
        self._ledger.forget(stub.instance)
        said = f"the Python process {stub.pid} of model {stub.model!r} died"
        if decoupled or self._reloads_here >= MAX_RELOADS_PER_PROCESS:
            # Open streams of a dead decoupled model end only with the server.
            await self._restart(Kind.STUB_DIED, said, stub.model)
            return
        self.emit(Kind.STUB_DIED, f"{said}; loading the model again", stub.model)
        (SHM / stub.region).unlink(missing_ok=True)
        self._schedule(stub.model)

    def _schedule(self, model: str) -> None:
        if model in self._due:
            return
        backoff = self._backoffs.setdefault(model, Backoff())
        now = time.monotonic()
        self._due[model] = now + backoff.next_delay(now)

    async def _reload(self, model: str, process: ServerProcess) -> None:
        control, timeout_s = self.launcher.control, self.policy.reload_timeout_s
        self._reloads_here += 1
        try:
            async with self._slots:
                await control.unload(model, timeout_s=timeout_s)
                await control.load(model, timeout_s=timeout_s)
        except ControlError as error:
            if self.process is not process or process.returncode is not None:
                return
            reason = one_sentence(str(error))
            self.emit(Kind.MODEL_FAILED, f"model {model!r} does not load: {reason}", model)
            self._schedule(model)
            return
        self.reloads += 1
        self.emit(Kind.MODEL_RELOADED, f"model {model!r} is loaded again", model)

    async def _restart(self, kind: Kind, why: str, model: str | None = None) -> None:
        self.emit(kind, f"{why}; starting it again", model)
        while True:
            await self.launcher.end(self.process, drain=False)
            await asyncio.sleep(self._restart_backoff.next_delay(time.monotonic()))
            try:
                self.process, missing = await self.launcher.launch(fail_early=False)
            except TritonError as error:
                self.emit(Kind.RESTART_FAILED, str(error), None)
                continue
            break
        self.restarts += 1
        await self._begin_anew(missing)

    async def _begin_anew(self, missing: Mapping[str, str]) -> None:
        self._ledger, self._due = StubLedger(), {}
        await self.take_stock()
        self._reloads_here = self._failed_probes = 0
        needed = missing.keys() - self.launcher.optional()
        for model, reason in missing.items():
            self.emit(Kind.MODEL_FAILED, f"model {model!r} does not load: {reason}", model)
            if model in needed:
                self._schedule(model)
        if not needed:
            self.emit(Kind.READY, "Triton serves again", None)

    def _exit(self) -> str:
        code = self.process.returncode
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
