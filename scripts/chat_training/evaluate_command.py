"""`scripts/evaluate_chat`: score an exported model where it is served, without PyTorch."""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

from .demonstration import run, script
from .engine import Engine
from .evaluation import evaluate
from .held_out import draw_held_out


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/evaluate_chat",
        description=(
            "Runs an OpenVINO IR folder through OpenVINO GenAI on held-out conversations, prints "
            "exact-match scores by category, then holds a short conversation with it."
        ),
    )
    parser.add_argument("folder", type=Path, help="such as model_repository/llm_small/1/openvino")
    parser.add_argument("--seed", type=int, default=1, help="of the held-out conversations")
    parser.add_argument("--conversations", type=int, default=300)
    parser.add_argument("--questions", type=int, default=4, help="in each conversation")
    parser.add_argument("--json", action="store_true", help="the scores as the last line")
    parser.add_argument("--misses", type=int, default=0, help="show this many wrong turns")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if not (options.folder / "openvino_model.xml").exists():
        print(f"evaluate_chat: {options.folder} has no openvino_model.xml; name an IR folder.")
        return 2
    engine = Engine(options.folder)
    start = time.monotonic()
    held_out = draw_held_out(options.seed, count=options.conversations, exchanges=options.questions)
    scores, misses = evaluate(held_out, engine.answer)
    print(scores.table())
    print(f"{options.conversations} conversations in {time.monotonic() - start:.0f} s\n")
    for miss in misses[: options.misses]:
        print(f"--- {miss.category}\n{miss.asked}")
        print(f"expected: {miss.expected}\nwritten: {miss.written}\n")
    wrong = 0
    for line, right in run(script(), engine.answer):
        print(line if right else f"{line}    <- wrong")
        wrong += not right
    print(f"\n{wrong} wrong lines in the conversation")
    if options.json:
        print(json.dumps({"scores": scores.as_json(), "wrong_lines": wrong}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
