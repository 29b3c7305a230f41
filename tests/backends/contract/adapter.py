"""A LoRA adapter of random weights, in PEFT's form."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

RANK = 4
MODULE = "base_model.model.model.layers.{}.self_attn.{}"


def write_adapter(model: Path, folder: Path) -> None:
    """For the Llama in the Hugging Face folder `model`; changes what it says beyond doubt."""
    facts = json.loads((model / "config.json").read_text())
    width = facts["hidden_size"]
    random = np.random.default_rng(1)
    tensors = {}
    for layer in range(facts["num_hidden_layers"]):
        for target in ("q_proj", "o_proj"):
            name = MODULE.format(layer, target)
            tensors[f"{name}.lora_A.weight"] = random.normal(size=(RANK, width))
            tensors[f"{name}.lora_B.weight"] = random.normal(size=(width, RANK))
    folder.mkdir(parents=True)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": RANK,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": ["q_proj", "o_proj"],
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").write_bytes(_safetensors(tensors))


def _safetensors(tensors: Mapping[str, npt.NDArray[np.float64]]) -> bytes:
    """The length of a JSON header, the header, the data (huggingface/safetensors, README)."""
    header: dict[str, object] = {}
    data = b""
    for name, tensor in tensors.items():
        raw = tensor.astype("<f4").tobytes()
        offsets = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": offsets}
        data += raw
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data
