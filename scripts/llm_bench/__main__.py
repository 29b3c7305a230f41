"""What serving a language model through Triton costs, against the engine called directly.

Starts a Triton of its own, sends it bursts of prompts and prints a table; every answer is compared
with the direct call's. With --json the last line is one JSON object.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from backends.openvino_genai.settings import load_settings
from scripts.llm_bench.cancel import steps_to_leave, summary
from scripts.llm_bench.measure import Direct, run_rounds
from scripts.llm_bench.server import PER_TOKEN, ROOT, serve


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench_llm", description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", default="llm_small", help="a model of model_repository")
    parser.add_argument("--at-once", type=int, default=256, help="prompts in a burst")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cancels", type=int, default=10)
    parser.add_argument("--json", action="store_true", help="print a JSON object as the last line")
    return parser.parse_args()


async def measure(asked: argparse.Namespace) -> dict[str, Any]:
    ways = {
        "whole": (asked.model, False),
        "streamed": (asked.model, True),
        "streamed, one token a message": (PER_TOKEN, True),
    }
    settings, folder = load_settings(ROOT / "model_repository" / asked.model / "1")
    direct = Direct(settings, folder)
    with tempfile.TemporaryDirectory(prefix="bench_llm_") as scratch:
        async with serve(asked.model, Path(scratch)) as served:
            directly, series = await asyncio.to_thread(
                run_rounds,
                direct,
                served.grpc_url,
                at_once=asked.at_once,
                rounds=asked.rounds,
                ways=ways,
            )
            steps = await steps_to_leave(
                served.grpc_url, served.metrics_url, asked.model, asked.cancels
            )
    return {
        "model": asked.model,
        "at_once": asked.at_once,
        "rounds": asked.rounds,
        "direct_tokens_per_s": round(sorted(directly)[len(directly) // 2]),
        "ways": [one.summary() for one in series],
        "cancel": summary(steps),
    }


def show(result: dict[str, Any]) -> None:
    head = (
        f"{'way':32}{'tokens/s':>10}{'of direct':>11}{'TTFT p50':>11}{'messages':>10}{'wrong':>7}"
    )
    print(f"{result['model']}, {result['at_once']} at once, median of {result['rounds']} rounds\n")
    print(head)
    print(f"{'direct generate':32}{result['direct_tokens_per_s']:>10}{'100%':>11}")
    for way in result["ways"]:
        print(
            f"{way['way']:32}{way['tokens_per_s']:>10}{way['ratio']:>11.0%}"
            f"{way['ttft_p50_ms']:>8.0f} ms{way['messages_per_request']:>10}"
            f"{way['wrong_answers']:>7}"
        )
    cancel = result["cancel"]
    print(
        f"\ncancel to a lower running gauge: {cancel['steps_p50']:.0f} engine steps (median of "
        f"{cancel['cancels']}), {cancel['steps_most']:.0f} at most"
    )


def main() -> int:
    asked = parse()
    result = asyncio.run(measure(asked))
    show(result)
    if asked.json:
        print(json.dumps(result))
    return 1 if any(way["wrong_answers"] for way in result["ways"]) else 0


if __name__ == "__main__":
    sys.exit(main())
