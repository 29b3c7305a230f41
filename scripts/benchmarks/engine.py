"""A language model behind Triton against its engine called directly, 1 to 256 at once.

Whole answers and streams as they are configured; every answer is compared with the direct call's.
"""

from __future__ import annotations

import asyncio

from backends.openvino_genai.settings import load_settings
from scripts.benchmarks.benchmark import ROOT, Bench
from scripts.benchmarks.outcome import Curve, Outcome, Ratio, Series, WrongAnswer
from scripts.benchmarks.served import serving
from scripts.llm_bench.measure import NEW_TOKENS, Direct, run_rounds
from scripts.llm_bench.measure import Series as Way

MODEL = "llm_small"
WAYS = {"whole": (MODEL, False), "streamed": (MODEL, True)}
_WANTED = {"whole": 0.85, "streamed": 0.75}
_MOST = 256


async def run(bench: Bench) -> Outcome:
    outcome = Outcome(settings={"model": MODEL, "new tokens": NEW_TOKENS, "greedy": True})
    lines: dict[str, list[tuple[float, float]]] = {}
    version = ROOT / "model_repository" / MODEL / "1"
    rounds = bench.pick(3, 7)
    async with serving(MODEL, {MODEL: {}}, bench.folder) as server:
        direct = Direct(*load_settings(version))
        sizes = bench.pick((1, _MOST), (1, 8, 64, _MOST))
        for number, at_once in enumerate(sizes):
            bench.progress.advance(number / len(sizes))
            bench.progress.say(f"{rounds} rounds of {at_once} at once")
            alone, ways = await asyncio.to_thread(
                run_rounds, direct, server.grpc_url, at_once=at_once, rounds=rounds, ways=WAYS
            )
            _note(outcome, lines, at_once, alone, ways)
    outcome.curves = [
        Curve("tokens a second", "requests at once", "tokens/s", lines, logarithmic=True)
    ]
    return outcome


def _note(
    outcome: Outcome,
    lines: dict[str, list[tuple[float, float]]],
    at_once: int,
    alone: list[float],
    ways: list[Way],
) -> None:
    direct = Series(f"engine directly, {at_once} at once", "tokens", rates=alone)
    outcome.series.append(direct)
    lines.setdefault("engine directly", []).append((at_once, sorted(alone)[len(alone) // 2]))
    for way in ways:
        if way.wrong:
            raise WrongAnswer(f"{way.wrong} answers ({way.name}, {at_once} at once) are wrong")
        rates = way.tokens_per_s
        outcome.series.append(
            Series(
                f"through Triton, {way.name}, {at_once} at once",
                "tokens",
                rates=rates,
                latencies_ms=[1000 * s for s in way.ttft_s],
            )
        )
        lines.setdefault(way.name, []).append((at_once, sorted(rates)[len(rates) // 2]))
        outcome.ratios.append(
            Ratio(
                f"{way.name}_{at_once}",
                f"{way.name}: share of the engine directly, {at_once} at once",
                way.ratios,
                _WANTED[way.name] if at_once == _MOST else None,
            )
        )
