"""Starts one tritonserver after another for the same runtime folder, ports and repositories."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.triton.command import arguments, environment
from orchestrator.triton.config import Ports, TritonConfig
from orchestrator.triton.control import Control
from orchestrator.triton.find import Installation
from orchestrator.triton.process import ServerProcess, spawn
from orchestrator.triton.readiness import Progress, model_names, wait_until_ready
from orchestrator.triton.runtime import Runtime
from orchestrator.triton.serverlog import ServerLog

# A drained server ends some time after its own exit timeout.
EXIT_MARGIN_S = 1.5


@dataclass(frozen=True, slots=True)
class Launcher:
    config: TritonConfig
    found: Installation
    runtime: Runtime
    ports: Ports
    on_progress: Callable[[Progress], None]

    @property
    def control(self) -> Control:
        return Control(self.config.host, self.ports.http)

    def optional(self) -> frozenset[str]:
        """The models that others do not wait for."""
        return model_names(self.config.optional_repositories)

    async def launch(self, *, fail_early: bool) -> tuple[ServerProcess, dict[str, str]]:
        """Returns the serving process and the models that did not load, with their reasons.

        Raises:
            TritonError: it is not serving; nothing of it is left then.
        """
        await asyncio.to_thread(self.runtime.sweep)
        models = model_names(self.config.served) - self.config.held_back()
        command = arguments(
            self.config,
            self.found,
            models=models,
            ports=self.ports,
            backends=self.runtime.backends,
            shm_prefix=self.runtime.shm_prefix,
        )
        process, start = await spawn(command, environment(self.config, self.found), self.config.log)
        try:
            self._record(process)
            missing = await wait_until_ready(
                process,
                self.control,
                ServerLog(self.config.log, start),
                expected=models,
                optional=self.optional(),
                timeout_s=self.config.ready_timeout_s,
                on_progress=self.on_progress,
                fail_early=fail_early,
            )
        except BaseException:
            await self.end(process, drain=False)
            raise
        return process, missing

    async def end(self, process: ServerProcess, *, drain: bool) -> None:
        if drain:
            await process.terminate(self.config.drain_timeout_s + EXIT_MARGIN_S)
        else:
            await process.kill()
        await asyncio.to_thread(self.runtime.sweep)

    def _record(self, process: ServerProcess) -> None:
        self.runtime.write_record(
            pid=process.pid,
            grpc_port=self.ports.grpc,
            http_port=self.ports.http,
            metrics_port=self.ports.metrics,
            log=str(self.config.log),
        )
