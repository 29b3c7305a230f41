"""The benchmarks there are."""

from __future__ import annotations

from scripts.benchmarks import gateway, steps
from scripts.benchmarks.benchmark import Benchmark

_ALL = (
    Benchmark("gateway", "the front door with a null model, against LiteLLM's proxy", gateway.run),
    Benchmark("steps", "durable steps, against LangGraph and DBOS", steps.run),
)
BENCHMARKS = {one.name: one for one in _ALL}
