"""The report: a page of Markdown, a plot, and the same as one JSON object."""

import itertools
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from scripts.perf.load import Load
from scripts.perf.streaming import StreamLoad
from scripts.perf.sweeps import EMBEDDER, ROUTER, Measurements

CALLERS = 64


def write_report(folder: Path, measurements: Measurements, machine: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    parts = [f"# Load on the models\n\n{machine}\n"]
    if measurements.batched:
        plot(folder / "batching.png", measurements)
        parts += [
            "![Throughput and latency over callers](batching.png)\n",
            _targets_table(targets(measurements)),
            "## As configured\n\n" + _load_table(medians(measurements.batched)),
            "## Dynamic batching off\n\n" + _load_table(medians(measurements.unbatched)),
            "## Each model of the router, as configured\n\n"
            + _share_table(medians(measurements.batched)),
        ]
    if measurements.streams:
        parts.append("## Streams\n\n" + _stream_table(measurements.streams))
    path = folder / "report.md"
    path.write_text("\n".join(parts), encoding="utf-8")
    return path


def as_json(measurements: Measurements) -> dict[str, Any]:
    return {**asdict(measurements), "targets": targets(measurements)}


class Figure(NamedTuple):
    """Over the rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def over(cls, values: Iterable[float]) -> "Figure":
        found = sorted(values)
        return cls(*(round(one, 3) for one in (statistics.median(found), found[0], found[-1])))

    def __str__(self) -> str:
        return f"{self.median:g} ({self.least:g} to {self.most:g})"


def targets(measurements: Measurements) -> dict[str, Figure]:
    """The figures the repository promises, as far as this run has what they need.

    A round's share of OpenVINO is taken of the mean of what it did before and after that round.
    """
    loads, unbatched = by_place(measurements.batched), by_place(measurements.unbatched)
    direct = direct_rates(measurements)
    figures = {}
    for model in (ROUTER, EMBEDDER):
        rates = [load.throughput for load in loads.get((model, CALLERS), ())]
        plain = [load.throughput for load in unbatched.get((model, CALLERS), ())]
        if rates and plain:
            figures[f"{model} at {CALLERS}: times without batching"] = Figure.over(
                rate / other for rate, other in zip(rates, plain, strict=True)
            )
        for order, alone in direct.items() if rates else ():
            figures[f"{model} at {CALLERS}: share of OpenVINO, texts {order}"] = Figure.over(
                rate / other for rate, other in zip(rates, alone, strict=True)
            )
    if (ROUTER, 1) in loads:
        figures[f"{ROUTER} at 1: p50 ms"] = Figure.over(load.p50_ms for load in loads[ROUTER, 1])
    return figures


def direct_rates(measurements: Measurements) -> dict[str, list[float]]:
    """Texts a second of OpenVINO alone, of each round: the mean of before and after it."""
    pairs = list(itertools.pairwise(measurements.direct))
    if not pairs:
        return {}
    return {
        "as they come": [(one.in_order + two.in_order) / 2 for one, two in pairs],
        "sorted by length": [(one.by_length + two.by_length) / 2 for one, two in pairs],
    }


def by_place(loads: Iterable[Load]) -> dict[tuple[str, int], list[Load]]:
    """By model and number of callers, each round's in turn."""
    places: dict[tuple[str, int], list[Load]] = {}
    for load in loads:
        places.setdefault((load.model, load.concurrency), []).append(load)
    return places


def medians(loads: Iterable[Load]) -> list[Load]:
    """Of each place the round of median throughput (the lower of two)."""
    return [
        sorted(rounds, key=lambda load: load.throughput)[(len(rounds) - 1) // 2]
        for rounds in by_place(loads).values()
    ]


def plot(path: Path, measurements: Measurements) -> None:
    import matplotlib as mpl  # noqa: PLC0415 - a second that a run without a plot need not wait

    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    figure, (rates, latencies) = pyplot.subplots(1, 2, figsize=(11, 4.5))
    for loads, style, name in (
        (medians(measurements.batched), "-o", "as configured"),
        (medians(measurements.unbatched), "--x", "batching off"),
    ):
        for model in dict.fromkeys(load.model for load in loads):
            points = [load for load in loads if load.model == model]
            callers = [load.concurrency for load in points]
            label = f"{model}, {name}"
            rates.plot(callers, [load.throughput for load in points], style, label=label)
            latencies.plot(callers, [load.p50_ms for load in points], style, label=label)
    if measurements.direct:
        rates.axhline(
            statistics.median(one.in_order for one in measurements.direct),
            color="grey",
            linestyle=":",
            label="OpenVINO directly, 32",
        )
    for axes, title in ((rates, "texts per second"), (latencies, "p50 latency, ms")):
        axes.set_xscale("log", base=2)
        axes.set_xlabel("callers")
        axes.set_title(title)
    latencies.set_yscale("log")
    rates.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _targets_table(figures: dict[str, Figure]) -> str:
    rows = [(name, str(figure)) for name, figure in figures.items()]
    return _table(("figure", "median over the rounds (least to most)"), rows)


def _load_table(loads: Sequence[Load]) -> str:
    header = ("model", "callers", "texts/s", "p50 ms", "p95 ms", "p99 ms")
    return _table(
        header,
        [
            (
                load.model,
                str(load.concurrency),
                f"{load.throughput:.0f}",
                f"{load.p50_ms:.1f}",
                f"{load.p95_ms:.1f}",
                f"{load.p99_ms:.1f}",
            )
            for load in loads
        ],
    )


def _share_table(loads: Sequence[Load]) -> str:
    header = ("load", "callers", "model", "queue ms", "compute ms", "per execution", "cache hits")
    return _table(
        header,
        [
            (
                load.model,
                str(load.concurrency),
                name,
                f"{share.queue_ms:.2f}",
                f"{share.compute_ms:.2f}",
                f"{share.per_execution:.1f}",
                str(share.cache_hits),
            )
            for load in loads
            for name, share in load.shares.items()
            if share.executions
        ],
    )


def _stream_table(streams: Sequence[StreamLoad]) -> str:
    header = (
        *["model", "streams", "tokens/s", "requests/s", "messages each", "first token p50 ms"],
        *["first token p99 ms", "per token p50 ms", "whole p50 ms", "whole p99 ms"],
    )
    return _table(
        header,
        [
            (
                stream.model,
                str(stream.concurrency),
                f"{stream.tokens_per_s:.0f}",
                f"{stream.requests_per_s:.1f}",
                f"{stream.messages_per_request:.1f}",
                f"{stream.ttft_p50_ms:.1f}",
                f"{stream.ttft_p99_ms:.1f}",
                f"{stream.tpot_p50_ms:.2f}",
                f"{stream.end_to_end_p50_ms:.1f}",
                f"{stream.end_to_end_p99_ms:.1f}",
            )
            for stream in streams
        ],
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
