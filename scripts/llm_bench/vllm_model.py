"""A model of the repository, with vLLM as its engine."""

import json
from pathlib import Path

ENGINE_ARGS = {
    "enforce_eager": True,
    "max_model_len": 2048,
    "structured_outputs_config": {
        "backend": "guidance",
        "disable_any_whitespace": True,
        "disable_additional_properties": True,
    },
}
SERVING = {"environment": {"VLLM_CPU_KVCACHE_SPACE": "1"}}


def write_vllm_model(model: Path, folder: Path, environment: Path, **serving: object) -> None:
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
    (version / "model.json").write_text(json.dumps({"model": "hugging_face", **ENGINE_ARGS}))
    (version / "serving.json").write_text(json.dumps({**SERVING, **serving}))
