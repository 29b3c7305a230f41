"""`scripts/compare_exports`: do both exports of a model write the same greedy tokens?"""

import argparse
import importlib.util
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .engine import LONGEST_ANSWER_TOKENS, Engine
from .evaluation import questions
from .held_out import draw_held_out
from .tokenizer import TURN_END

_WANTED = 0.99


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/compare_exports",
        description=(
            "Asks the OpenVINO IR folder and the Hugging Face folder of one model the same "
            "held-out prompts, greedily, and counts the answers with the same tokens. Exit code 1 "
            f"below {_WANTED:.0%}. Needs the environment of scripts/train_chat."
        ),
    )
    parser.add_argument("openvino", type=Path, help="such as model_repository/llm_small/1/openvino")
    parser.add_argument(
        "hugging_face", type=Path, help="such as model_repository/llm_small/1/hugging_face"
    )
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1, help="of the held-out conversations")
    return parser


def _prompts(seed: int, count: int) -> list[str]:
    """One prompt of each held-out conversation, in turn its first, second, … last."""
    found = []
    for index, conversation in enumerate(draw_held_out(seed, count=count)):
        asked = questions(conversation)
        found.append(asked[index % len(asked)].prompt)
    return found


def _hugging_face_tokens(folder: Path, prompts: Sequence[str]) -> Iterator[list[int]]:
    import torch  # noqa: PLC0415 (training only)
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    for prompt in prompts:
        ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False).input_ids
        with torch.no_grad():
            written = model.generate(ids, do_sample=False, max_new_tokens=LONGEST_ANSWER_TOKENS)
        yield written[0, ids.shape[1] :].tolist()


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    for folder, needed in (
        (options.openvino, "openvino_model.xml"),
        (options.hugging_face, "model.safetensors"),
    ):
        if not (folder / needed).exists():
            print(f"compare_exports: {folder} has no {needed}.")
            return 2
    if importlib.util.find_spec("torch") is None:
        print("compare_exports: PyTorch is not installed here; see scripts/train_chat.")
        return 2
    start = time.monotonic()
    prompts = _prompts(options.seed, options.prompts)
    engine = Engine(options.openvino)
    same = 0
    theirs = _hugging_face_tokens(options.hugging_face, prompts)
    for number, (prompt, wanted) in enumerate(zip(prompts, theirs, strict=True), 1):
        written = engine.tokens(prompt)
        if written == wanted:
            same += 1
        else:
            print(f"prompt {number} differs: {written} and {wanted}", flush=True)
        if number % 50 == 0:
            print(f"{number} of {len(prompts)} asked, {same} the same", flush=True)
    share = same / len(prompts)
    print(
        f"{same} of {len(prompts)} prompts ({share:.1%}) gave the same greedy tokens up to "
        f"{TURN_END}, in {time.monotonic() - start:.0f} s"
    )
    return 0 if share >= _WANTED else 1
