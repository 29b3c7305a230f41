"""Triton as a unit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from orchestrator.added_models import ModelStore
from orchestrator.settings import Triton
from orchestrator.supervisor.unit import Say, StartError, Unit
from orchestrator.triton import Kind, TritonConfig, TritonError, TritonEvent, TritonServer

CHAT_MODELS = "CHAT_PROMPT_REPOSITORIES"
"""Where `chat_prompt` looks for models besides its own repository."""


class TritonUnit(Unit):
    name = "triton"

    def __init__(
        self,
        settings: Triton,
        *,
        added: ModelStore,
        runtime: Path,
        log: Path,
        env: Mapping[str, str],
        say: Say,
        drain_s: float,
    ) -> None:
        missing = [str(folder) for folder in settings.repositories if not folder.is_dir()]
        if missing:
            raise StartError(
                f"the model repository {missing[0]} is not here ({Path.cwd()}); start in the "
                "folder that holds it, or set FLEET_TRITON__REPOSITORIES"
            )
        added.prepare()
        self._say = say
        self._server = TritonServer(
            TritonConfig(
                repositories=settings.repositories,
                optional_repositories=(added.repository,),
                held_back=added.held_back,
                backends_dir=settings.backends,
                server=settings.server,
                runtime_dir=runtime,
                grpc_port=settings.grpc_port,
                http_port=settings.http_port,
                metrics_port=settings.metrics_port,
                log_file=log,
                auto_complete=False,  # every config.pbtxt of ours is complete: a faster start
                environment={**env, CHAT_MODELS: str(added.repository)},
                drain_timeout_s=drain_s,
            ),
            on_event=self._tell,
        )

    async def start(self) -> None:
        try:
            await self._server.start()
        except TritonError as error:
            raise StartError(str(error)) from None

    async def stop(self) -> None:
        await self._server.stop()

    def _tell(self, event: TritonEvent) -> None:
        if event.kind not in (Kind.STARTING, Kind.STOPPING, Kind.STOPPED):
            self._say(event.message)
