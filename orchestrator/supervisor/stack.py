"""The whole stack on one machine: what it consists of, its order, its end."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path

from orchestrator.added_models import ModelStore
from orchestrator.settings import Settings, Triton
from orchestrator.supervisor import leftovers, ports
from orchestrator.supervisor.lock import exclusive
from orchestrator.supervisor.probes import grpc_says_serving, metrics_say_ready
from orchestrator.supervisor.process import ProcessUnit, Spec
from orchestrator.supervisor.record import (
    StackRecord,
    remove_record,
    runtime_folder,
    write_record,
)
from orchestrator.supervisor.redis import redis_unit
from orchestrator.supervisor.triton import TritonUnit
from orchestrator.supervisor.unit import Say, Unit

_LEFTOVER_GRACE_S = 3.0
_GRACE_S = 3.0
"""What is running has this long to end when the stack stops, whatever the settings allow."""


class Stack:
    """Redis and Triton, where no other ones are named, then api, workers and toolbox."""

    def __init__(self, settings: Settings, *, say: Say) -> None:
        self.settings = settings
        self._say = say
        self._home = settings.home.resolve()
        self._units: list[Unit] = []
        self._held = ExitStack()

    @property
    def record(self) -> StackRecord:
        """Where everything listens."""
        settings = self.settings
        metrics = {
            "api": settings.api.metrics_port,
            "toolbox": settings.toolbox.metrics_port,
            **{f"worker-{n}": settings.worker.metrics_port + n for n in self._workers()},
        }
        if not settings.triton.is_elsewhere:
            metrics["triton"] = settings.triton.metrics_port
        return StackRecord(
            pid=os.getpid(),
            api=settings.api.listen,
            triton=", ".join(settings.triton.grpc_addresses),
            redis=f"127.0.0.1:{settings.redis.port}"
            if not settings.redis.url.get_secret_value()
            else "as configured",
            metrics={name: f"http://127.0.0.1:{port}/metrics" for name, port in metrics.items()},
        )

    async def start(self) -> None:
        """Returns when a question can be asked.

        Raises:
            StartError: it can't serve; nothing of it is left then.
        """
        self._held.enter_context(exclusive(self._home))
        try:
            ended = await asyncio.to_thread(
                leftovers.end, runtime_folder(self._home), grace_s=_LEFTOVER_GRACE_S
            )
            if ended:
                self._say(f"ended {ended} processes that an earlier stack left running")
            ports.check(self.settings)
            await self._start_units()
            write_record(self._home, self.record)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Ends everything within 10 s: what asks first, then what is asked."""
        remove_record(self._home)
        units, self._units = self._units, []
        asked = ("redis", "triton")
        await asyncio.gather(*(unit.stop() for unit in units if unit.name not in asked))
        await asyncio.gather(*(unit.stop() for unit in units if unit.name in asked))
        self._held.close()

    async def _start_units(self) -> None:
        if not self.settings.redis.url.get_secret_value():
            await self._start(
                redis_unit(
                    self.settings.redis,
                    home=self._home,
                    log=self._log("redis"),
                    env=self._env(),
                    say=self._say,
                )
            )
        services = [
            self._service("api"),
            *(self._service("worker", n) for n in self._workers()),
            self._service("toolbox"),
        ]
        waiting = [asyncio.create_task(self._start(unit)) for unit in services]
        if not self.settings.triton.is_elsewhere:
            triton = TritonUnit(
                self.settings.triton,
                added=ModelStore(self.settings.models_dir),
                runtime=runtime_folder(self._home) / "triton",
                log=self._log("triton"),
                env={leftovers.MARK: str(runtime_folder(self._home))},
                say=self._say,
                drain_s=_GRACE_S,
            )
            waiting.append(asyncio.create_task(self._start(triton)))
        try:
            await asyncio.gather(*waiting)
        except BaseException:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            raise

    async def _start(self, unit: Unit) -> None:
        self._units.append(unit)
        await unit.start()
        self._say(f"{unit.name} serves")

    def _service(self, role: str, number: int = 0) -> ProcessUnit:
        name = f"{role}-{number}" if role == "worker" else role
        url = self.record.metrics[name]
        listen = self.settings.api.listen

        async def ready() -> bool:
            if role == "api":
                return await grpc_says_serving(listen)
            return await metrics_say_ready(url)

        argv = [sys.executable, "-m", "orchestrator.cli", "serve", role]
        env = self._env()
        if role == "worker":
            env["FLEET_WORKER__METRICS_PORT"] = str(self.settings.worker.metrics_port + number)
        return ProcessUnit(
            Spec(name=name, argv=argv, env=env, log=self._log(name), ready=ready), self._say
        )

    def _workers(self) -> range:
        return range(self.settings.worker.count)

    def _log(self, name: str) -> Path:
        return self._home / "log" / f"{name}.log"

    def _env(self) -> dict[str, str]:
        """Our environment with the settings that the stack decided."""
        settings = self.settings
        return {
            **os.environ,
            leftovers.MARK: str(runtime_folder(self._home)),
            "FLEET_HOME": str(self._home),
            "FLEET_API__LISTEN": settings.api.listen,
            "FLEET_API__GRACE_S": str(min(_GRACE_S, settings.api.grace_s)),
            "FLEET_WORKER__GRACE_S": str(min(_GRACE_S, settings.worker.grace_s)),
            "FLEET_TOOLBOX__GRACE_S": str(min(_GRACE_S, settings.toolbox.grace_s)),
            "FLEET_API__METRICS_PORT": str(settings.api.metrics_port),
            "FLEET_TOOLBOX__METRICS_PORT": str(settings.toolbox.metrics_port),
            "FLEET_REDIS__URL": settings.redis.address,
            **_triton(settings.triton),
        }


def _triton(section: Triton) -> dict[str, str]:
    metrics = {"FLEET_TRITON__METRICS_PORT": str(section.metrics_port)}
    if section.addresses:
        return {"FLEET_TRITON__ADDRESSES": json.dumps(section.addresses), **metrics}
    return {"FLEET_TRITON__ADDRESS": section.grpc_addresses[0], **metrics}
