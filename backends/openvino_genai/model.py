"""The `openvino_genai` backend: a shell around the service that Triton's Python stub loads."""

import locale
import sys
from pathlib import Path

locale.setlocale(locale.LC_ALL, "C.UTF-8")
sys.path.append(str(Path(__file__).resolve().parents[2]))

from backends.llm_serving.backend_model import LlmBackendModel  # noqa: E402
from backends.llm_serving.engine import Engine  # noqa: E402
from backends.llm_serving.process_engine import ProcessEngine  # noqa: E402
from backends.llm_serving.serving import Serving  # noqa: E402
from backends.openvino_genai.honoured import check_request  # noqa: E402
from backends.openvino_genai.settings import load_settings  # noqa: E402


class TritonPythonModel(LlmBackendModel):
    def open(self, version_folder: Path, python: str) -> tuple[Engine, Serving]:
        settings, _ = load_settings(version_folder)
        module = "backends.openvino_genai.engine_process"
        return ProcessEngine(module, version_folder, python, check=check_request), settings
