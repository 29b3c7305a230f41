"""What `model.py` of every LLM backend does inside Triton's Python stub, whatever the engine."""

import os
import sys
import threading
from abc import ABC, abstractmethod
from pathlib import Path

import triton_python_backend_utils as pb_utils

from backends.llm_serving.engine import Engine
from backends.llm_serving.errors import LlmError
from backends.llm_serving.metrics import Metrics
from backends.llm_serving.orphan import end_with_parent
from backends.llm_serving.own_server import own_endpoint, readiness
from backends.llm_serving.service import LlmService, ServiceSettings
from backends.llm_serving.serving import Serving
from backends.llm_serving.tensors import (
    TritonLog,
    TritonRegistry,
    TritonResponder,
    complete_config,
    read_call,
    take_hint,
)
from backends.llm_serving.trace import Trace
from backends.llm_serving.unload_watch import UnloadWatch

EXIT_CODE = 70
EXIT_DELAY_S = 1.0


class LlmBackendModel(ABC):
    @abstractmethod
    def open(self, version_folder: Path, python: str) -> tuple[Engine, Serving]:
        """An engine that is not started yet; `python` runs in the stub's environment.

        Raises SettingsError.
        """

    @staticmethod
    def auto_complete_config(config: "pb_utils.ModelConfig") -> "pb_utils.ModelConfig":
        return complete_config(config)

    def initialize(self, args: dict[str, str]) -> None:
        name, version = args["model_name"], args["model_version"]
        version_folder = Path(args["model_repository"]).resolve() / version
        try:
            engine, serving = self.open(version_folder, _python())
            self._limits = serving.limits
            end_with_parent()
            self._log = TritonLog(name)
            self._registry = TritonRegistry()
            self._name = name
            trace = Trace(serving.trace)
            self._lost = serving.when_engine_is_lost
            self._service = LlmService(
                engine,
                Metrics(self._registry, {"model": name, "version": version}, trace),
                ServiceSettings(serving.limits, serving.drain_timeout_s, serving.engine_restarts),
                self._log,
                on_given_up=self._give_up,
                trace=trace,
            )
            self._service.start()
            endpoint = own_endpoint()
            self._unload_watch = endpoint and UnloadWatch(
                readiness(endpoint, name, version), self._service.retire
            )
        except LlmError as error:
            raise pb_utils.TritonModelException(str(error)) from None

    def execute(self, requests: "list[pb_utils.InferenceRequest]") -> None:
        for request in requests:
            cancelled = take_hint(request)
            if cancelled is not None:
                self._service.hint(cancelled)
                continue
            responder = TritonResponder(request.get_response_sender())
            try:
                call = read_call(request, self._limits)
            except LlmError as error:
                self._service.refuse(responder, error)
                continue
            responder.expect(call)
            self._service.submit(call, responder)

    def finalize(self) -> None:
        if self._unload_watch is not None:
            self._unload_watch.close()
        self._service.close()

    def _give_up(self, reason: str) -> None:
        """Triton 2.51 cannot ask a Python model whether it is ready."""
        self._log.error(f"the engine cannot be brought back: {reason}")
        if self._lost == "unload":
            pb_utils.unload_model(self._name)
        else:
            threading.Timer(EXIT_DELAY_S, os._exit, [EXIT_CODE]).start()


def _python() -> str:
    """The interpreter of the stub's environment; the stub itself is no interpreter."""
    folder = Path(sys.prefix) / "bin"
    return str(folder / f"python{sys.version_info.major}.{sys.version_info.minor}")
