"""The `openvino_genai` backend: a shell around the service that Triton's Python stub loads."""

import locale
import os
import sys
import threading
from pathlib import Path

import triton_python_backend_utils as pb_utils

locale.setlocale(locale.LC_ALL, "C.UTF-8")
sys.path.append(str(Path(__file__).resolve().parents[2]))

from backends.llm_serving.errors import LlmError  # noqa: E402
from backends.llm_serving.metrics import Metrics  # noqa: E402
from backends.llm_serving.orphan import end_with_parent  # noqa: E402
from backends.llm_serving.service import LlmService, ServiceSettings  # noqa: E402
from backends.llm_serving.tensors import (  # noqa: E402
    TritonLog,
    TritonRegistry,
    TritonResponder,
    complete_config,
    read_call,
    take_hint,
)
from backends.llm_serving.trace import Trace  # noqa: E402
from backends.openvino_genai.engine import OpenVinoEngine  # noqa: E402
from backends.openvino_genai.settings import load_settings  # noqa: E402

EXIT_CODE = 70
EXIT_DELAY_S = 1.0


class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config: "pb_utils.ModelConfig") -> "pb_utils.ModelConfig":
        return complete_config(config)

    def initialize(self, args: dict[str, str]) -> None:
        name, version = args["model_name"], args["model_version"]
        version_folder = Path(args["model_repository"]).resolve() / version
        try:
            settings, _ = load_settings(version_folder)
            engine = OpenVinoEngine(version_folder, _python())
            self._limits = settings.limits
            end_with_parent()
            self._log = TritonLog(name)
            self._registry = TritonRegistry()
            self._name = name
            trace = Trace(settings.trace)
            self._lost = settings.when_engine_is_lost
            self._service = LlmService(
                engine,
                Metrics(self._registry, {"model": name, "version": version}, trace),
                ServiceSettings(
                    settings.limits, settings.drain_timeout_s, settings.engine_restarts
                ),
                self._log,
                on_given_up=self._give_up,
                trace=trace,
            )
            self._service.start()
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
