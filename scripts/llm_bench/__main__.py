"""What serving a language model through Triton costs, against the engine called directly.

Starts a Triton of its own, sends it bursts of prompts and prints a table; every answer is compared
with the direct call's. With --json the last line is one JSON object.
"""

import argparse
import asyncio
import json
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from scripts.llm_bench.cancel import Cancels, measure_cancels
from scripts.llm_bench.endurance import endure
from scripts.llm_bench.engines import NoVllm, open_openvino, open_vllm, vllm_environment
from scripts.llm_bench.measure import Series, run_rounds
from scripts.llm_bench.server import TRACED, serve


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench_llm", description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--engine",
        choices=("openvino_genai", "vllm"),
        default="openvino_genai",
        help="vllm is also compared with its own OpenAI server",
    )
    parser.add_argument("--model", default="llm_small", help="a model of model_repository")
    parser.add_argument("--at-once", type=int, default=256, help="prompts in a burst")
    parser.add_argument("--rounds", type=int, default=7, help="0 measures cancels only")
    parser.add_argument("--cancels", type=int, default=15, help="at each number of streams")
    parser.add_argument(
        "--streams", type=numbers, default=(1, 8, 64, 256), help="running when one is cancelled"
    )
    parser.add_argument(
        "--endurance",
        type=int,
        default=0,
        metavar="REQUESTS",
        help="what 200 cancels and so many requests leave behind, such as 10000",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object as the last line")
    return parser.parse_args()


def numbers(text: str) -> tuple[int, ...]:
    try:
        values = tuple(int(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or min(values) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of positive numbers like 1,64,256")
    return values


async def measure(asked: argparse.Namespace) -> dict[str, Any]:
    directly: list[float] = []
    series: list[Series] = []
    cancels: list[Cancels] = []
    vllm = vllm_environment() if asked.engine == "vllm" else None
    traced = bool(asked.cancels)
    with ExitStack() as open_now:
        scratch = Path(open_now.enter_context(TemporaryDirectory(prefix="bench_llm_")))
        async with serve(asked.model, scratch, vllm=vllm, traced=traced) as served:
            if asked.rounds:
                opened = (
                    open_openvino(asked.model, served.grpc_url)
                    if vllm is None
                    else open_vllm(asked.model, served, vllm / "bin" / "python", open_now)
                )
                directly, series = await asyncio.to_thread(
                    run_rounds,
                    opened.direct,
                    at_once=asked.at_once,
                    rounds=asked.rounds,
                    ways=opened.ways,
                )
            for streams in asked.streams if asked.cancels else ():
                found = await measure_cancels(
                    served.grpc_url, TRACED, served.trace, streams=streams, times=asked.cancels
                )
                cancels += found
            endured = None
            if asked.endurance:
                places = (served.grpc_url, served.metrics_url, asked.model, served.shm_prefix)
                endured = await endure(*places, requests=asked.endurance)
    return {
        "engine": asked.engine,
        "model": asked.model,
        "at_once": asked.at_once,
        "rounds": asked.rounds,
        "direct_tokens_per_s": round(statistics.median(directly)) if directly else None,
        "ways": [one.summary() for one in series],
        "cancels": [one.summary() for one in cancels],
        "endurance": endured and endured.summary(),
    }


def show(result: dict[str, Any]) -> None:
    if result["ways"]:
        show_ways(result)
    if result["cancels"]:
        show_cancels(result)
    if result["endurance"]:
        show_endurance(result["endurance"])


def show_ways(result: dict[str, Any]) -> None:
    head = (
        f"{'way':32}{'tokens/s':>10}{'of direct':>11}{'TTFT p50':>11}{'messages':>10}{'wrong':>7}"
    )
    what = f"{result['model']} on {result['engine']}, {result['at_once']} at once"
    print(f"{what}, median of {result['rounds']} rounds\n")
    print(head)
    print(f"{'direct generate':32}{result['direct_tokens_per_s']:>10}{'100%':>11}")
    for way in result["ways"]:
        print(
            f"{way['way']:32}{way['tokens_per_s']:>10}{way['ratio']:>11.0%}"
            f"{way['ttft_p50_ms']:>8.0f} ms{way['messages_per_request']:>10}"
            f"{way['wrong_answers']:>7}"
        )


def show_endurance(found: dict[str, Any]) -> None:
    print(
        f"\n{found['cancelled']} streams cancelled midway: nothing runs "
        f"{found['running_zero_s']:.2f} s later, and after one more request "
        f"{found['confirmed_s']:.2f} s later\n"
        f"MiB before, after half of and after {found['requests']} requests"
    )
    for name in found["memory_mib"][0]:
        values = [one.get(name, 0) for one in found["memory_mib"]]
        print(f"  {name:28}" + "".join(f"{value:>8.0f}" for value in values))
    print(f"  {'shared memory':28}" + "".join(f"{value:>8.1f}" for value in found["shm_mib"]))


def show_cancels(result: dict[str, Any]) -> None:
    print(f"\n{result['model']}, from a cancel to a lower running gauge: median, and the most\n")
    print(
        f"{'streams':8}{'cancelled by':18}{'a step':>10}{'from the client':>25}"
        f"{'within 2':>14}{'from when the backend is told':>35}"
    )
    for one in result["cancels"]:
        from_client = f"{one['steps_from_client_p50']:g} steps, {one['ms_from_client_p50']:.1f} ms"
        within = f"{one['within_two_steps']} of {one['cancels']}"
        from_told = f"{one['steps_from_told_p50']:g} steps, {one['ms_from_told_p50']:.1f} ms"
        print(
            f"{one['streams']:<8}{one['way']:18}{one['step_ms']:>7.2f} ms"
            f"{from_client:>21}{one['steps_from_client_most']:>4g}"
            f"{within:>14}{from_told:>31}{one['steps_from_told_most']:>4g}"
        )


def main() -> int:
    asked = parse()
    try:
        result = asyncio.run(measure(asked))
    except NoVllm as error:
        raise SystemExit(f"bench_llm: {error}") from None
    show(result)
    if asked.json:
        print(json.dumps(result))
    return 1 if any(way["wrong_answers"] for way in result["ways"]) else 0


if __name__ == "__main__":
    sys.exit(main())
