"""The table that is printed."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.benchmarks.benchmark import Benchmark
from scripts.benchmarks.outcome import Outcome, Ratio, Series, Spread

_MET = {True: "met", False: "MISSED", None: ""}


def table(benchmark: Benchmark, outcome: Outcome) -> str:
    parts = [f"{benchmark.name}: {benchmark.compares}"]
    if outcome.series:
        parts.append(_aligned(_SERIES, [_series(one) for one in outcome.series]))
    if outcome.ratios:
        parts.append(_aligned(_RATIOS, [_ratio(one) for one in outcome.ratios]))
    parts += [f"left out: {why}" for why in outcome.left_out]
    return "\n\n".join(parts) + "\n"


_SERIES = ("way", "rate", "p50", "CPU s for 1,000")
_RATIOS = ("figure", "median", "least to most", "bar", "")


def _series(one: Series) -> tuple[str, ...]:
    rate = f"{shown(Spread.over(one.rates).median)} {one.unit}/s" if one.rates else ""
    p50 = f"{Spread.over(one.latencies_ms).median:.2f} ms" if one.latencies_ms else ""
    cpu = ", ".join(f"{name} {Spread.over(of).median:.2f}" for name, of in one.cpu_s.items())
    return one.name, rate, p50, cpu


def _ratio(one: Ratio) -> tuple[str, ...]:
    spread = one.spread
    bar = "" if one.wanted is None else f"{'≤' if one.at_most else '≥'} {one.wanted:g}{one.unit}"
    return (
        one.said,
        f"{shown(spread.median)}{one.unit}",
        f"{shown(spread.least)} to {shown(spread.most)}",
        bar,
        _MET[one.met],
    )


def shown(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in (head, *rows)]
    return "\n".join(lines)
