"""The `vllm` backend: a shell around the service that Triton's Python stub loads."""

import locale
import sys
from pathlib import Path

locale.setlocale(locale.LC_ALL, "C.UTF-8")
sys.path.append(str(Path(__file__).resolve().parents[2]))

from backends.llm_serving.backend_model import LlmBackendModel  # noqa: E402
from backends.llm_serving.engine import Engine  # noqa: E402
from backends.llm_serving.process_engine import ProcessEngine  # noqa: E402
from backends.llm_serving.serving import Serving  # noqa: E402
from backends.vllm.settings import engine_environment, load_model  # noqa: E402


class TritonPythonModel(LlmBackendModel):
    def open(self, version_folder: Path, python: str) -> tuple[Engine, Serving]:
        model = load_model(version_folder)
        module = "backends.vllm.engine_process"
        environment = engine_environment(model)
        return ProcessEngine(module, version_folder, python, environment), model.serving
