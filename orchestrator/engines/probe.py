"""Runs in an engine's environment, as a program: `probe.py REPORT [MODEL]`.

REPORT gets one JSON object a line, one for each thing that worked, in the order of `STAGES`.
"""

import json
import sys
from pathlib import Path
from typing import Any

STAGES = ("numpy", "torch", "vllm", "generation")
_PROMPT = "Say yes or no."
_SCHEMA = {"type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"]}
_KV_CACHE_BYTES = 256 << 20


def main(report: Path, model: str | None) -> None:
    def tell(stage: str, **facts: object) -> None:
        with report.open("a") as lines:
            lines.write(json.dumps({"stage": stage, **facts}) + "\n")

    import numpy  # noqa: PLC0415 - each import is a thing that is checked

    tell("numpy", version=numpy.__version__)
    import torch  # noqa: PLC0415

    tell(
        "torch",
        version=torch.__version__,
        cuda=torch.version.cuda,
        devices=torch.cuda.device_count(),
    )
    import vllm  # noqa: PLC0415

    tell("vllm", version=vllm.__version__)
    if model is not None:
        tell("generation", text=_generate(vllm, model))


def _generate(vllm: Any, model: str) -> str:
    """A plain answer, and one under a schema, which needs more of the packages."""
    from vllm.sampling_params import StructuredOutputsParams  # noqa: PLC0415

    engine = vllm.LLM(
        model=model,
        enforce_eager=True,
        max_num_seqs=2,
        max_model_len=256,
        kv_cache_memory_bytes=_KV_CACHE_BYTES,
        gpu_memory_utilization=0.3,
        disable_log_stats=True,
    )
    bound = StructuredOutputsParams(json=_SCHEMA)
    wanted = [
        vllm.SamplingParams(max_tokens=16, temperature=0),
        vllm.SamplingParams(max_tokens=48, temperature=0, structured_outputs=bound),
    ]
    answers = engine.generate([_PROMPT, _PROMPT], wanted, use_tqdm=False)
    if not all(answer.outputs[0].token_ids for answer in answers):
        raise RuntimeError(f"{model} generated nothing")
    return str(answers[0].outputs[0].text)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
