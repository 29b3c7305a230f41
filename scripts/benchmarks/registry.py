"""The benchmarks there are."""

from __future__ import annotations

from scripts.benchmarks import steps
from scripts.benchmarks.benchmark import Benchmark

BENCHMARKS = {
    one.name: one
    for one in (Benchmark("steps", "durable steps against LangGraph and DBOS", steps.run),)
}
