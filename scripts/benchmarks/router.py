"""The router ensemble and the embedder over 1 to 128 callers, dynamic batching on and off, measured
by perf_analyzer, against OpenVINO called directly on the embedder's graph at batch 32.
"""

from __future__ import annotations

import asyncio

from orchestrator.triton import TritonError
from scripts.benchmarks.benchmark import ROOT, Bench
from scripts.benchmarks.outcome import CannotRun, Curve, Outcome, Ratio, Series
from scripts.perf.binary import PerfAnalyzerMissingError, find_perf_analyzer
from scripts.perf.load import Load, LoadFailedError
from scripts.perf.report import CALLERS, by_place, direct_rates, medians
from scripts.perf.sweeps import CONCURRENCIES, EMBEDDER, ROUTER, Measurements, Plan, sweep_router

_ON, _OFF = "batching on", "batching off"
_WANTED = {ROUTER: 0.7, EMBEDDER: 0.8}
_P50_MS = 8.0


async def run(bench: Bench) -> Outcome:
    plan = Plan(
        concurrencies=bench.pick((1, CALLERS), CONCURRENCIES),
        window_ms=bench.pick(500, 1000),
        rounds=bench.pick(2, 5),
    )
    progress = bench.progress
    try:
        analyzer = await asyncio.to_thread(
            find_perf_analyzer, ROOT / ".fleet" / "perf_analyzer", progress.say
        )
        found = await sweep_router(plan, analyzer, bench.folder, progress.say)
    except (PerfAnalyzerMissingError, LoadFailedError, TritonError, OSError) as error:
        raise CannotRun(str(error)) from error
    settings = {"callers": list(plan.concurrencies), "window_ms": plan.window_ms}
    return Outcome(
        _series(found), _ratios(found), [_throughput(found)], settings | {"direct batch": 32}
    )


def _series(found: Measurements) -> list[Series]:
    series = [
        Series(
            f"{model}, {name}, {callers} at once",
            "texts",
            rates=[load.throughput for load in rounds],
            latencies_ms=[load.p50_ms for load in rounds],
        )
        for name, loads in ((_ON, found.batched), (_OFF, found.unbatched))
        for (model, callers), rounds in by_place(loads).items()
        if callers in (1, CALLERS)
    ]
    for order, rates in direct_rates(found).items():
        series.append(Series(f"OpenVINO directly, texts {order}", "texts", rates=rates))
    return series


def _ratios(found: Measurements) -> list[Ratio]:
    on, off = by_place(found.batched), by_place(found.unbatched)
    ratios: list[Ratio] = []
    for model, wanted in _WANTED.items():
        mine = [load.throughput for load in on[model, CALLERS]]
        plain = [load.throughput for load in off[model, CALLERS]]
        ratios.append(
            Ratio(
                f"{model}_batching",
                f"{model}: times batching off, {CALLERS} at once",
                [ours / theirs for ours, theirs in zip(mine, plain, strict=True)],
                2.0 if model == ROUTER else None,
            )
        )
        for order, direct in direct_rates(found).items():
            ratios.append(
                Ratio(
                    f"{model}_share_{order.split()[0]}",
                    f"{model}: share of OpenVINO directly, texts {order}",
                    [ours / theirs for ours, theirs in zip(mine, direct, strict=True)],
                    wanted if order.startswith("sorted") else None,
                )
            )
    alone = [load.p50_ms for load in on[ROUTER, 1]]
    said = "router ensemble, one at a time: p50"
    ratios.append(Ratio("router_p50_ms", said, alone, _P50_MS, at_most=True, unit=" ms"))
    return ratios


def _throughput(found: Measurements) -> Curve:
    lines: dict[str, list[tuple[float, float]]] = {}
    for name, loads in ((_ON, found.batched), (_OFF, found.unbatched)):
        for load in medians(loads):
            lines.setdefault(f"{load.model}, {name}", []).append(_point(load))
    return Curve("throughput", "callers", "texts/s", lines, logarithmic=True)


def _point(load: Load) -> tuple[float, float]:
    return float(load.concurrency), load.throughput
