"""The report: one page of HTML with plots, and the raw figures as JSON beside it."""

from __future__ import annotations

import html
import io
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from scripts.benchmarks.benchmark import Benchmark
from scripts.benchmarks.machine import machine
from scripts.benchmarks.outcome import Curve, Outcome
from scripts.benchmarks.table import table

mpl.rcParams["svg.hashsalt"] = "fleet"  # the same figures make the same file

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
pre { background: #f4f4f4; padding: 1rem; overflow-x: auto; font-size: 13px }
dt { font-weight: 600 } dd { margin: 0 0 .3rem 0 }
"""


def write_report(folder: Path, found: Mapping[Benchmark, Outcome], *, quick: bool) -> Path:
    """Writes `raw.json` and `report.html`; returns the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {**machine(), "made": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())}
    raw = {
        "machine": about,
        "quick": quick,
        "benchmarks": {benchmark.name: asdict(outcome) for benchmark, outcome in found.items()},
    }
    (folder / "raw.json").write_text(json.dumps(raw, indent=1), encoding="utf-8")
    page = folder / "report.html"
    sections = [_section(benchmark, outcome) for benchmark, outcome in found.items()]
    page.write_text(_page(about, sections, quick=quick), encoding="utf-8")
    return page


def _page(about: Mapping[str, str], sections: Sequence[str], *, quick: bool) -> str:
    rows = "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in about.items())
    how = "a quick run: few rounds" if quick else "a full run"
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>fleet benchmarks</title>'
        f"<style>{_STYLE}</style><h1>Benchmarks</h1><p>{how}. Ratios are of ways that took turns "
        f"in one run; absolute figures are this machine's.</p><dl>{rows}</dl>"
        + "".join(sections)
        + "</html>\n"
    )


def _section(benchmark: Benchmark, outcome: Outcome) -> str:
    settings = json.dumps(outcome.settings, indent=1, ensure_ascii=False)
    return (
        f"<h2>{html.escape(benchmark.name)}</h2>"
        f"<pre>{html.escape(table(benchmark, outcome))}</pre>"
        + "".join(map(_plot, outcome.curves))
        + f"<details><summary>settings</summary><pre>{html.escape(settings)}</pre></details>"
    )


def _plot(curve: Curve) -> str:
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes: Any = figure.subplots()
    for name, points in curve.lines.items():
        axes.plot([x for x, _ in points], [y for _, y in points], marker="o", label=name)
    if curve.logarithmic:
        axes.set_xscale("log")
    axes.set(title=curve.title, xlabel=curve.across, ylabel=curve.up)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None})
    return drawn.getvalue().partition("<svg")[1] + drawn.getvalue().partition("<svg")[2]
