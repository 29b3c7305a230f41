"""The embedded Triton server as one object: start, watch, stop."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from orchestrator.triton.assemble import assemble_backends
from orchestrator.triton.config import Ports, TritonConfig
from orchestrator.triton.control import Control
from orchestrator.triton.errors import ModelNotLoadedError, ServerExitedError, TritonError
from orchestrator.triton.events import Kind, Listener, TritonEvent
from orchestrator.triton.find import Installation, find_server
from orchestrator.triton.launch import Launcher
from orchestrator.triton.leftovers import find_processes
from orchestrator.triton.preflight import check_environment, choose_ports
from orchestrator.triton.process import ServerProcess
from orchestrator.triton.readiness import Progress
from orchestrator.triton.runtime import Runtime, open_runtime
from orchestrator.triton.watch import Watcher, WatchPolicy

CRASHES_AT_START = 2
"""After which the next one is the last."""


@dataclass(frozen=True, slots=True)
class Status:
    """`models` maps each model to Triton's word for its state; empty while nothing answers."""

    pid: int | None
    serving: bool
    restarts: int
    reloads: int
    models: Mapping[str, str] = field(default_factory=dict)


class TritonServer:
    """A tritonserver that answers again by itself when it, or a model's process, dies.

    It outlives a launcher that is killed; the next start in the same runtime folder ends it.
    """

    def __init__(
        self,
        config: TritonConfig,
        *,
        on_event: Listener = lambda _: None,
        policy: WatchPolicy | None = None,
    ) -> None:
        self.config = config
        self._on_event = on_event
        self._policy = policy or WatchPolicy()
        self._launcher: Launcher | None = None
        self._watcher: Watcher | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def ports(self) -> Ports:
        return self._started().ports

    @property
    def control(self) -> Control:
        return self._started().control

    @property
    def grpc_url(self) -> str:
        return f"{self.config.host}:{self.ports.grpc}"

    @property
    def http_url(self) -> str:
        return f"http://{self.config.host}:{self.ports.http}"

    @property
    def metrics_url(self) -> str:
        return f"http://{self.config.host}:{self.ports.metrics}/metrics"

    @property
    def shm_prefix(self) -> str:
        """What its processes and its shared memory are found by; empty while it is not started."""
        return self._launcher.runtime.shm_prefix if self._launcher else ""

    def pids(self) -> tuple[int, ...]:
        """The server and the Python process of each model."""
        return tuple(find_processes(self.shm_prefix))

    async def start(self) -> None:
        """Returns when every model answers; from then on the server is watched.

        Raises:
            TritonError: it cannot serve; nothing of it is left then.
        """
        if self._launcher is not None:
            raise TritonError("this Triton server is already started: make another, or stop it")
        found = find_server(self.config.server)
        check_environment(self.config, found)
        runtime = await self._open_runtime()
        try:
            self._watcher = await self._launch(found, runtime)
        except BaseException:
            self._launcher = None
            runtime.close()
            raise
        self._watching = asyncio.create_task(self._watcher.run(), name="triton watch")
        self._emit(Kind.READY, f"Triton serves on {self.grpc_url}")

    async def stop(self) -> None:
        """Drains, ends, and removes every trace but the log. A second call does nothing."""
        launcher, watcher, watching = self._launcher, self._watcher, self._watching
        self._launcher = self._watcher = self._watching = None
        if launcher is None or watcher is None or watching is None:
            return
        self._emit(Kind.STOPPING, "draining Triton")
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        await launcher.end(watcher.process, drain=True)
        launcher.runtime.close()
        self._emit(Kind.STOPPED, "Triton is stopped")

    async def watch(self) -> None:
        """Returns when the server is stopped; raises what ended the watching, if anything did."""
        if self._watching is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(self._watching)

    async def status(self) -> Status:
        watcher = self._watcher
        if watcher is None:
            return Status(None, serving=False, restarts=0, reloads=0)
        models: dict[str, str] = {}
        with contextlib.suppress(TritonError):
            models = {s.name: s.state for s in await self.control.index(timeout_s=2.0)}
        serving = await self.control.is_ready(timeout_s=2.0)
        return Status(watcher.process.pid, serving, watcher.restarts, watcher.reloads, models)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def _open_runtime(self) -> Runtime:
        folder, grace_s = self.config.runtime_dir, self.config.drain_timeout_s
        runtime, ended = await asyncio.to_thread(open_runtime, folder, grace_s=grace_s)
        if ended:
            said = f"ended a Triton server that an earlier launcher left running ({ended[0]})"
            self._emit(Kind.LEFTOVERS_ENDED, said)
        return runtime

    async def _launch(self, found: Installation, runtime: Runtime) -> Watcher:
        assemble_backends(found, self.config.backends_dir, runtime.backends)
        ports = choose_ports(self.config)
        self._launcher = Launcher(self.config, found, runtime, ports, self._on_progress)
        self._emit(Kind.STARTING, f"starting {found.server}")
        process, missing = await self._launch_again_after_crashes(self._launcher)
        optional = self._launcher.optional()
        if needed := {name: why for name, why in missing.items() if name not in optional}:
            await self._launcher.end(process, drain=False)
            raise ModelNotLoadedError(needed)
        for model, reason in missing.items():
            self._emit(Kind.MODEL_FAILED, f"model {model!r} does not load: {reason}", model)
        watcher = Watcher(self._launcher, process, self._emit, self._policy)
        await watcher.take_stock()
        return watcher

    async def _launch_again_after_crashes(
        self, launcher: Launcher
    ) -> tuple[ServerProcess, dict[str, str]]:
        """Triton's Python backend aborts at times when a busy machine starts several models: its
        locks in shared memory fail."""
        for _ in range(CRASHES_AT_START):
            try:
                return await launcher.launch(fail_early=True)
            except ServerExitedError as error:
                if not error.crashed:
                    raise
                self._emit(Kind.SERVER_DIED, f"{error}; starting it again")
        return await launcher.launch(fail_early=True)

    def _on_progress(self, progress: Progress) -> None:
        self._emit(Kind.PROGRESS, str(progress))

    def _emit(self, kind: Kind, message: str, model: str | None = None) -> None:
        self._on_event(TritonEvent(kind, message, model))

    def _started(self) -> Launcher:
        if self._launcher is None:
            raise TritonError("this Triton server is not started")
        return self._launcher
