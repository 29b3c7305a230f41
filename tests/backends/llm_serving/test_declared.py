"""The repository's models declare what NVIDIA's vLLM backend declares at its 24.12 level."""

from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

ROOT = Path(__file__).parents[3]
MODELS = sorted(folder.name for folder in (ROOT / "model_repository").glob("llm_*"))

INPUTS = {
    "text_input": ("TYPE_STRING", [1], False),
    "image": ("TYPE_STRING", [-1], True),
    "stream": ("TYPE_BOOL", [1], True),
    "sampling_parameters": ("TYPE_STRING", [1], True),
    "exclude_input_in_output": ("TYPE_BOOL", [1], True),
    "return_finish_reason": ("TYPE_BOOL", [1], True),
    "return_cumulative_logprob": ("TYPE_BOOL", [1], True),
    "return_logprobs": ("TYPE_BOOL", [1], True),
    "return_num_input_tokens": ("TYPE_BOOL", [1], True),
    "return_num_output_tokens": ("TYPE_BOOL", [1], True),
}
OUTPUTS = {
    "text_output": ("TYPE_STRING", [-1]),
    "finish_reason": ("TYPE_STRING", [-1]),
    "cumulative_logprob": ("TYPE_FP32", [-1]),
    "logprobs": ("TYPE_STRING", [-1]),
    "num_input_tokens": ("TYPE_UINT32", [1]),
    "num_output_tokens": ("TYPE_UINT32", [-1]),
}


def test_there_are_models() -> None:
    assert MODELS == ["llm_large", "llm_small"]


@pytest.mark.parametrize("model", MODELS)
def test_a_model_declares_the_tensors_of_nvidias_backend(model: str) -> None:
    text = (ROOT / "model_repository" / model / "config.pbtxt").read_text()
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    kind = model_config_pb2.DataType.Name
    inputs = {i.name: (kind(i.data_type), list(i.dims), i.optional) for i in config.input}
    outputs = {o.name: (kind(o.data_type), list(o.dims)) for o in config.output}
    assert inputs == INPUTS
    assert outputs == OUTPUTS
    assert config.max_batch_size == 0
    assert config.model_transaction_policy.decoupled
