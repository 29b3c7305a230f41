"""A model of the repository, with vLLM as its engine."""

import json
from collections.abc import Mapping
from pathlib import Path

ENGINE_ARGS = {
    "distributed_executor_backend": "uni",
    # The weights are float16, for which its CPU build has no fast kernels.
    "dtype": "bfloat16",
    "enforce_eager": True,
    "max_model_len": 2048,
    # Of a GPU, if there is one: several engines run beside each other where they are compared.
    "gpu_memory_utilization": 0.2,
    "structured_outputs_config": {
        "backend": "guidance",
        "disable_any_whitespace": True,
        "disable_additional_properties": True,
    },
}
SERVING = {"environment": {"VLLM_CPU_KVCACHE_SPACE": "1"}}


def write_vllm_model(
    model: Path,
    folder: Path,
    environment: Path,
    arguments: Mapping[str, object] | None = None,
    **serving: object,
) -> None:
    """Into `folder`; `model` has its weights in `1/hugging_face`."""
    version = folder / "1"
    version.mkdir(parents=True)
    config = (model / "config.pbtxt").read_text()
    changed = config.replace('backend: "openvino_genai"', 'backend: "vllm"')
    changed = changed.replace('string_value: "openvino_genai"', 'string_value: "vllm"')
    value = f'{{ string_value: "{environment}" }}'
    changed += f'parameters {{ key: "EXECUTION_ENV_PATH" value: {value} }}\n'
    (version.parent / "config.pbtxt").write_text(changed)
    (version / "hugging_face").symlink_to((model / "1" / "hugging_face").resolve())
    (version / "model.json").write_text(
        json.dumps({"model": "hugging_face", **ENGINE_ARGS, **(arguments or {})})
    )
    (version / "serving.json").write_text(json.dumps({**SERVING, **serving}))
