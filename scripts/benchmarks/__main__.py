"""Measures the fleet against its peers, in turns, on this machine.

Starts what it needs, warms up, alternates ours and theirs over several rounds, prints a table for
each benchmark, and saves raw figures and a report with plots. Peers are installed on demand into
environments of their own. With --json the last line is one object with a key for each benchmark.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

from orchestrator.triton import TritonError
from scripts.benchmarks.benchmark import ROOT, Bench, Benchmark
from scripts.benchmarks.outcome import CannotRun, Outcome, WrongAnswer
from scripts.benchmarks.progress import Progress
from scripts.benchmarks.registry import BENCHMARKS
from scripts.benchmarks.report import write_report
from scripts.benchmarks.table import table

RESULTS = ROOT / "bench" / "results"


def parse() -> argparse.Namespace:
    listed = "\n".join(f"  {one.name:9} {one.compares}" for one in BENCHMARKS.values())
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=(__doc__ or "").partition("\n\n")[0],
        epilog=f"benchmarks:\n{listed}\n\nexamples:\n"
        "  scripts/bench --quick\n  scripts/bench gateway steps --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which ones; none: all")
    parser.add_argument("--quick", action="store_true", help="few rounds, small loads")
    parser.add_argument("--json", action="store_true", help="print one JSON object as last line")
    parser.add_argument(
        "--out", type=Path, default=RESULTS, help="the folder of raw.json and report.html"
    )
    asked = parser.parse_args()
    unknown = [name for name in asked.names if name not in BENCHMARKS]
    if unknown:
        known = ", ".join(BENCHMARKS)
        parser.error(f"there is no benchmark {', '.join(map(repr, unknown))}; there are: {known}")
    return asked


def measure(benchmark: Benchmark, *, quick: bool) -> Outcome:
    progress = Progress(benchmark.name)
    with tempfile.TemporaryDirectory(prefix=f"bench_{benchmark.name}_") as folder:
        try:
            return asyncio.run(_run(benchmark, Bench(quick, Path(folder), progress)))
        finally:
            progress.close()


async def _run(benchmark: Benchmark, bench: Bench) -> Outcome:
    try:
        return await benchmark.run(bench)
    except (RuntimeError, TritonError) as error:  # a part of ours, or an engine, did not start
        raise CannotRun(str(error)) from error


def main() -> int:
    asked = parse()
    found: dict[Benchmark, Outcome] = {}
    failed: dict[str, str] = {}
    for name in asked.names or BENCHMARKS:
        benchmark = BENCHMARKS[name]
        began = time.monotonic()
        try:
            outcome = measure(benchmark, quick=asked.quick)
        except (CannotRun, WrongAnswer) as error:
            failed[name] = str(error)
            print(f"{name}: {'WRONG: ' if isinstance(error, WrongAnswer) else ''}{error}\n")
            continue
        outcome.settings["seconds"] = round(time.monotonic() - began)
        found[benchmark] = outcome
        print(table(benchmark, outcome), flush=True)
    if found:
        page = write_report(asked.out, found, quick=asked.quick)
        print(f"report: {page}")
    if asked.json:
        ratios = {benchmark.name: outcome.json for benchmark, outcome in found.items()}
        print(json.dumps(ratios | {name: {"error": why} for name, why in failed.items()}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
