"""A language model behind Triton against its engine called directly, 1 to 256 at once.

Whole answers and streams as they are configured, on each engine that is installed; vLLM also behind
its own OpenAI server. Every answer is compared with the direct call's.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from scripts.benchmarks.benchmark import Bench
from scripts.benchmarks.outcome import Curve, Outcome, Ratio, Series, WrongAnswer
from scripts.llm_bench.direct import NEW_TOKENS
from scripts.llm_bench.engines import NoVllm, Opened, open_openvino, open_vllm, vllm_environment
from scripts.llm_bench.measure import Series as Way
from scripts.llm_bench.measure import run_rounds
from scripts.llm_bench.server import serve

MODEL, MOST = "llm_small", 256
OPENVINO, VLLM = "openvino_genai", "vllm"
_SERVER = "vLLM's OpenAI server, streamed"
_WANTED = {
    (OPENVINO, "whole"): 0.85,
    (OPENVINO, "streamed"): 0.75,
    (VLLM, "whole"): 0.95,
}


@dataclass
class _Notes:
    outcome: Outcome
    lines: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def point(self, name: str, at_once: int, rates: Sequence[float]) -> None:
        self.lines.setdefault(name, []).append((at_once, statistics.median(rates)))


async def run(bench: Bench) -> Outcome:
    outcome = Outcome(settings={"model": MODEL, "new tokens": NEW_TOKENS, "greedy": True})
    notes = _Notes(outcome)
    await _measure(bench, OPENVINO, None, notes)
    try:
        await _measure(bench, VLLM, vllm_environment(), notes)
    except NoVllm as reason:
        outcome.left_out.append(f"vLLM: {reason}")
    title = "tokens a second"
    outcome.curves = [Curve(title, "requests at once", "tokens/s", notes.lines, logarithmic=True)]
    return outcome


async def _measure(bench: Bench, engine: str, vllm: Path | None, notes: _Notes) -> None:
    rounds = bench.pick(2, 5)
    sizes = bench.pick((1, MOST), (1, 8, 64, MOST))
    with ExitStack() as open_now:
        async with serve(MODEL, bench.folder / engine, vllm=vllm, traced=False) as served:
            opened: Opened = (
                open_openvino(MODEL, served.grpc_url)
                if vllm is None
                else open_vllm(MODEL, served, vllm / "bin" / "python", open_now)
            )
            for number, at_once in enumerate(sizes):
                bench.progress.advance((number + len(sizes) * (engine == VLLM)) / 2 / len(sizes))
                bench.progress.say(f"{engine}: {rounds} rounds of {at_once} at once")
                alone, ways = await asyncio.to_thread(
                    run_rounds, opened.direct, at_once=at_once, rounds=rounds, ways=opened.ways
                )
                _note(notes, engine, at_once, alone, ways)


def _note(
    notes: _Notes, engine: str, at_once: int, alone: Sequence[float], ways: Sequence[Way]
) -> None:
    outcome, where = notes.outcome, f"{at_once} at once"
    outcome.series.append(Series(f"{engine} directly, {where}", "tokens", rates=alone))
    notes.point(f"{engine} directly", at_once, alone)
    for way in ways:
        if way.wrong:
            raise WrongAnswer(f"{way.wrong} answers ({engine}, {way.name}, {where}) are wrong")
        name = f"{engine}, {way.name}"
        ttft_ms = [1000 * s for s in way.ttft_s]
        outcome.series.append(
            Series(f"{name}, {where}", "tokens", rates=way.tokens_per_s, latencies_ms=ttft_ms)
        )
        notes.point(name, at_once, way.tokens_per_s)
        if way.name in ("whole", "streamed"):
            wanted = _WANTED.get((engine, way.name)) if at_once == MOST else None
            outcome.ratios.append(
                Ratio(
                    f"{engine}_{way.name}_{at_once}",
                    f"{name}: share of the engine directly, {where}",
                    way.ratios,
                    wanted,
                )
            )
    rates = {way.name: way.tokens_per_s for way in ways}
    if _SERVER in rates:
        outcome.ratios.append(
            Ratio(
                f"{engine}_streamed_of_server_{at_once}",
                f"{engine}, streamed: share of vLLM's OpenAI server, {where}",
                [a / b for a, b in zip(rates["streamed"], rates[_SERVER], strict=True)],
                0.9 if at_once == MOST else None,
            )
        )
