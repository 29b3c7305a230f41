"""Runs perf_analyzer at one concurrency and reads what it and the server's statistics say."""

import csv
import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tritonclient.grpc as grpcclient

from scripts.perf.binary import PerfAnalyzer

# perf_analyzer takes three windows, whatever the stability asked for.
WINDOWS = 3
START_ALLOWANCE_S = 120
# A window in which no request begins and ends is taken again, longer.
WINDOW_STEPS = (1, 4, 16)


class LoadFailedError(RuntimeError):
    """perf_analyzer ended without a measurement; the message has its last words."""


@dataclass(frozen=True)
class ModelShare:
    """What one model did during a load, from Triton's statistics; times per inference."""

    inferences: int
    executions: int
    cache_hits: int
    queue_ms: float
    compute_ms: float

    @property
    def per_execution(self) -> float:
        return self.inferences / self.executions if self.executions else 0.0


@dataclass(frozen=True)
class Load:
    model: str
    concurrency: int
    throughput: float
    """Inferences per second."""
    p50_ms: float
    p95_ms: float
    p99_ms: float
    shares: dict[str, ModelShare]


def run_load(
    analyzer: PerfAnalyzer,
    url: str,
    model: str,
    concurrency: int,
    *,
    input_data: Path,
    window_ms: int,
    extra: Sequence[str] = (),
) -> Load:
    """Raises LoadFailedError."""
    for longer in WINDOW_STEPS:
        before = _statistics(url)
        row, said = _measure(
            analyzer,
            *["-m", model, "-u", url, "-i", "grpc", "--async"],
            *["--input-data", str(input_data), "--concurrency-range", str(concurrency)],
            *["--measurement-interval", str(longer * window_ms), *extra],
            timeout_s=START_ALLOWANCE_S + 4 * WINDOWS * longer * window_ms / 1000,
        )
        shares = _shares(before, _statistics(url))
        if row or "larger time window" not in said:
            break
    if not row:
        raise LoadFailedError(
            f"perf_analyzer measured nothing for {model} at {concurrency}: {said or 'no output'}"
        )
    return Load(
        model=model,
        concurrency=concurrency,
        throughput=float(row["Inferences/Second"]),
        p50_ms=float(row["p50 latency"]) / 1000,
        p95_ms=float(row["p95 latency"]) / 1000,
        p99_ms=float(row["p99 latency"]) / 1000,
        shares=shares,
    )


def _measure(
    analyzer: PerfAnalyzer, *arguments: str, timeout_s: float
) -> tuple[dict[str, str], str]:
    """The row of perf_analyzer's table, empty when it has none, and its last words."""
    with tempfile.TemporaryDirectory(prefix="fleet-perf-") as folder:
        table = Path(folder) / "latency.csv"
        stability = ["--stability-percentage", "999", "--max-trials", str(WINDOWS)]
        try:
            finished = subprocess.run(
                [str(analyzer.path), *arguments, *stability, "-f", str(table)],
                env=analyzer.environment(),
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {}, f"not done after {timeout_s:.0f} s"
        rows = list(csv.DictReader(table.read_text().splitlines())) if table.exists() else []
    said = [line for line in (finished.stdout + finished.stderr).splitlines() if line]
    return (rows[0] if rows else {}), " / ".join(said[-2:])


def _statistics(url: str) -> dict[str, dict[str, Any]]:
    with grpcclient.InferenceServerClient(url) as client:
        answer = client.get_inference_statistics(as_json=True)
    return {entry["name"]: entry for entry in answer["model_stats"]}


def _shares(
    before: Mapping[str, dict[str, Any]], after: Mapping[str, dict[str, Any]]
) -> dict[str, ModelShare]:
    shares = {}
    for name, now in after.items():
        then = before.get(name, {})
        inferences = _count(now, "inference_count") - _count(then, "inference_count")
        hits = _part(now, "cache_hit", "count") - _part(then, "cache_hit", "count")
        if inferences or hits:
            queue, infer, read, write = (
                _part(now, part, "ns") - _part(then, part, "ns")
                for part in ("queue", "compute_infer", "compute_input", "compute_output")
            )
            shares[name] = ModelShare(
                inferences=inferences,
                executions=_count(now, "execution_count") - _count(then, "execution_count"),
                cache_hits=hits,
                queue_ms=queue / max(1, inferences) / 1e6,
                compute_ms=(infer + read + write) / max(1, inferences) / 1e6,
            )
    return shares


def _count(entry: Mapping[str, Any], name: str) -> int:
    return int(entry.get(name, 0))


def _part(entry: Mapping[str, Any], part: str, field: str) -> int:
    return int(entry.get("inference_stats", {}).get(part, {}).get(field, 0))


def write_input_data(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """perf_analyzer's input file: one request a row, sent in turn."""
    data = [{name: [value] for name, value in row.items()} for row in rows]
    path.write_text(json.dumps({"data": data}))
    return path
