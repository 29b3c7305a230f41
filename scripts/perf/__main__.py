"""Measures the models behind Triton with perf_analyzer and writes a report.

The embedder and the router over 1 to 128 callers, as configured and with dynamic batching off;
OpenVINO called directly in the same run; the language model's streams, if its files are there.
Starts its own server on free ports and stops it.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

from orchestrator.triton import TritonError
from scripts.perf.binary import PerfAnalyzerMissingError, find_perf_analyzer
from scripts.perf.load import LoadFailedError
from scripts.perf.report import as_json, targets, write_report
from scripts.perf.repository import Setting
from scripts.perf.sweeps import (
    CONCURRENCIES,
    EMBEDDER,
    ROOT,
    ROUTER,
    VARIANTS,
    Measurements,
    Plan,
    has_llm,
    sweep_router,
    sweep_streams,
)


def main() -> int:
    arguments = parse_arguments()
    try:
        measurements = asyncio.run(measure(arguments))
        report = write_report(arguments.output, measurements, machine())
    except (PerfAnalyzerMissingError, LoadFailedError, TritonError, OSError, ValueError) as error:
        print(f"scripts/perf_analyzer: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("scripts/perf_analyzer: interrupted, no report written", file=sys.stderr)
        return 130
    for name, figure in targets(measurements).items():
        print(f"{name}: {figure}")
    print(f"report: {report}")
    if arguments.json:
        print(json.dumps(as_json(measurements)))
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/perf_analyzer",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=(
            "examples:\n  scripts/perf_analyzer --only router --concurrency 1,64 --window-ms 5000\n"
            "  scripts/perf_analyzer --only embedder --skip-unbatched "
            "--set embedder.max_queue_delay_microseconds=2000"
        ),
    )
    parser.add_argument("--only", choices=("embedder", "router", "llm"), action="append")
    parser.add_argument("--concurrency", type=numbers, default=CONCURRENCIES, metavar="1,8,64")
    parser.add_argument("--streams", type=numbers, default=(1, 8, 32), metavar="1,8,32")
    parser.add_argument(
        "--set",
        type=setting,
        action="append",
        default=[],
        metavar="MODEL.NAME=VALUE",
        help="try a setting of config.pbtxt, or openvino.PROPERTY, in a copy of the repository",
    )
    parser.add_argument(
        "--skip-unbatched", action="store_true", help="no second sweep with dynamic batching off"
    )
    parser.add_argument("--window-ms", type=int, default=700, help="three windows a measurement")
    parser.add_argument(
        "--rounds", type=int, default=3, help="of everything in turn; medians are reported"
    )
    parser.add_argument("--llm", default="llm_small", help="the language model to stream from")
    parser.add_argument(
        "--output",
        type=Path,
        default=ROOT / "bench" / "results" / "perf_analyzer",
        help="folder of the report",
    )
    parser.add_argument("--json", action="store_true", help="the figures as JSON on the last line")
    return parser.parse_args()


def numbers(text: str) -> tuple[int, ...]:
    try:
        values = tuple(int(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or min(values) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of positive numbers like 1,8,64")
    return values


def setting(text: str) -> Setting:
    try:
        return Setting.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


async def measure(arguments: argparse.Namespace) -> Measurements:
    only = set(arguments.only or ("embedder", "router", "llm"))
    models = {"embedder": EMBEDDER, "router": ROUTER}
    plan = Plan(
        concurrencies=arguments.concurrency,
        window_ms=arguments.window_ms,
        rounds=arguments.rounds,
        models=[model for name, model in models.items() if name in only],
        settings=arguments.set,
        variants=VARIANTS[:1] if arguments.skip_unbatched else VARIANTS,
        llm=arguments.llm,
        llm_concurrencies=arguments.streams,
    )
    analyzer = await asyncio.to_thread(find_perf_analyzer, ROOT / ".fleet" / "perf_analyzer", tell)
    measurements = Measurements()
    with tempfile.TemporaryDirectory(prefix="fleet-perf-") as folder:
        if plan.models:
            measurements = await sweep_router(plan, analyzer, Path(folder), tell)
        if "llm" in only and has_llm(plan.llm):
            measurements.streams = await sweep_streams(plan, analyzer, Path(folder), tell)
        elif "llm" in only:
            tell(f"{plan.llm}: no model files in model_repository/{plan.llm}/1, not measured")
    return measurements


def tell(message: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {message}", flush=True)


def machine() -> str:
    cpuinfo = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next(
        (line.split(":", 1)[1].strip() for line in cpuinfo.splitlines() if "model name" in line),
        platform.machine(),
    )
    load = os.getloadavg()[0]
    return (
        f"{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} CPUs ({model}), "
        f"load average at the end {load:.1f}. The callers share these CPUs with the server."
    )


if __name__ == "__main__":
    sys.exit(main())
