"""Which words of a model's configuration say its engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from orchestrator.added_models import ModelError
from orchestrator.added_models.engine_files import (
    VllmHost,
    engine_files,
    engine_of,
    environment_value,
    with_engine,
)
from orchestrator.added_models.source import Engine
from tests.orchestrator.added_models.given import ROOT

FOLDER = Path("/project/model_repository/llm")
OURS = VllmHost(Path("/project/.fleet/engines/vllm"), on_cpu=True)
NVIDIAS = VllmHost()
CONFIGS = [
    ROOT / "model_repository" / "llm_small" / "config.pbtxt",
    ROOT / "model_repository" / "llm_large" / "config.pbtxt",
    ROOT / "orchestrator" / "added_models" / "config.pbtxt",
]


def parsed(text: str) -> pb.ModelConfig:
    return text_format.Parse(text, pb.ModelConfig())


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("host", [OURS, NVIDIAS], ids=["ours", "nvidia's"])
def test_only_what_says_the_engine_changes_and_changes_back(config: Path, host: VllmHost) -> None:
    text = config.read_text()
    changed = with_engine(text, Engine.VLLM, host, FOLDER)
    assert engine_of(changed) == "vllm"
    before, after = parsed(text), parsed(changed)
    assert (list(before.input), list(before.output)) == (list(after.input), list(after.output))
    assert after.instance_group[0].kind == pb.ModelInstanceGroup.KIND_MODEL
    assert with_engine(changed, Engine.OPENVINO_GENAI, host, FOLDER) == text
    assert with_engine(changed, Engine.VLLM, host, FOLDER) == changed


def test_our_backend_is_told_its_environment_and_gets_hints() -> None:
    config = parsed(with_engine(CONFIGS[0].read_text(), Engine.VLLM, OURS, FOLDER))
    assert config.parameters["EXECUTION_ENV_PATH"].string_value == (
        "$$TRITON_MODEL_DIRECTORY/../../.fleet/engines/vllm"
    )
    assert config.parameters["cancel_hints"].string_value == "vllm"


def test_nvidia_s_backend_gets_neither() -> None:
    config = parsed(with_engine(CONFIGS[0].read_text(), Engine.VLLM, NVIDIAS, FOLDER))
    assert "EXECUTION_ENV_PATH" not in config.parameters
    assert config.parameters["cancel_hints"].string_value != "vllm"


def test_an_environment_outside_the_project_is_named_by_its_whole_path() -> None:
    for elsewhere in ("/srv/fleet/engines/vllm", "/project2/.fleet/engines/vllm"):
        assert environment_value(Path(elsewhere), FOLDER) == elsewhere
    added = Path("/project/.fleet/models/repository/own")
    inside = environment_value(Path("/project/.fleet/engines/vllm"), added)
    assert inside == "/project/.fleet/engines/vllm"


def test_a_configuration_written_otherwise_is_not_guessed_at() -> None:
    for text in ("backend : 'vllm'", 'backend: "vllm"\n', "instance_group [ { kind: KIND_CPU } ]"):
        with pytest.raises(ModelError, match="can't be changed"):
            with_engine(text, Engine.VLLM, OURS, FOLDER)


@pytest.mark.parametrize(
    ("host", "model", "more"),
    [
        (OURS, "hugging_face", {"enforce_eager", "distributed_executor_backend"}),
        (VllmHost(OURS.environment), "hugging_face", {"gpu_memory_utilization"}),
        (NVIDIAS, str(FOLDER / "1" / "hugging_face"), set()),
    ],
    ids=["on the cpu", "on a gpu", "nvidia's"],
)
def test_vllm_s_arguments_fit_where_it_runs(host: VllmHost, model: str, more: set[str]) -> None:
    files = engine_files(
        Engine.VLLM,
        host,
        weights=FOLDER / "1" / "hugging_face",
        context_tokens=2048,
        kv_cache_gib=3,
    )
    arguments = files["model.json"]
    assert (arguments["model"], arguments["max_model_len"]) == (model, 2048)
    rest = set(arguments) - {"model", "max_model_len", "structured_outputs_config"}
    assert rest == more
    serving = files.get("serving.json", {})
    space = {"VLLM_CPU_KVCACHE_SPACE": "3"} if host.on_cpu else None
    assert serving.get("environment") == space
