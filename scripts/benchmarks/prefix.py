"""The time to the first token of a conversation's tenth turn, with and without the prefix cache.

Each turn's prompt is the one before and a turn more, as the orchestrator sends it; so with the
cache only the new turn is computed.
"""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable
from itertools import count

from scripts.benchmarks.benchmark import Bench, alternate
from scripts.benchmarks.outcome import Outcome, Ratio, Series, WrongAnswer
from scripts.benchmarks.served import scheduler_of, serving
from scripts.llm_bench.client import burst, request_bytes

MODEL, TURNS, NEW_TOKENS = "llm_large", 10, 8
CACHED, UNCACHED = "with_prefix_cache", "without_prefix_cache"
AT_ONCE = (1, 16)
_SAMPLING: dict[str, object] = {"temperature": 0, "max_tokens": NEW_TOKENS, "ignore_eos": True}
_WORDS = "order parcel invoice refund stock price colour size street town north south".split()  # noqa: SIM905


def conversation(number: int) -> list[str]:
    """The prompts of its turns; no two conversations begin alike."""
    prompts, said = list[str](), ""
    for turn in range(TURNS):
        words = " ".join(_WORDS[(number + turn * step) % len(_WORDS)] for step in range(28))
        said += f"<|im_start|>user\n{number} {words}<|im_end|>\n<|im_start|>assistant\n"
        prompts.append(said)
        said += f"{words[:80]}<|im_end|>\n"
    return prompts


async def run(bench: Bench) -> Outcome:
    scheduler = scheduler_of(MODEL)
    variants = {
        name: {"scheduler": {**scheduler, "enable_prefix_caching": cached}}
        for name, cached in ((CACHED, True), (UNCACHED, False))
    }
    numbers = count(1)
    async with serving(MODEL, variants, bench.folder) as server:

        def way(model: str, at_once: int) -> Callable[[], Awaitable[float]]:
            async def measure() -> float:
                talks = [conversation(next(numbers)) for _ in range(at_once)]
                first_ms = [0.0]
                for turn in range(TURNS):
                    requests = [
                        request_bytes(model, i, talk[turn], _SAMPLING)
                        for i, talk in enumerate(talks)
                    ]
                    found = await burst(server.grpc_url, requests)
                    failed = [one.error for one in found.answers if one.error]
                    if failed:
                        raise WrongAnswer(f"{model}: {failed[0]}")
                    first_ms = [one.first_s * 1000 for one in found.answers]
                return statistics.median(first_ms)

            return measure

        ways = {f"{model}, {n} at once": way(model, n) for n in AT_ONCE for model in variants}
        found = await alternate(bench, bench.pick(3, 9), ways)
    series = [Series(name, "turns", latencies_ms=rounds) for name, rounds in found.items()]
    ratios = [
        Ratio(
            f"ttft_{n}",
            f"times the cached TTFT without the cache, {n} at once",
            [
                without / cached
                for without, cached in zip(
                    found[f"{UNCACHED}, {n} at once"], found[f"{CACHED}, {n} at once"], strict=True
                )
            ],
        )
        for n in AT_ONCE
    ]
    return Outcome(series, ratios, settings={"model": MODEL, "turns": TURNS})
