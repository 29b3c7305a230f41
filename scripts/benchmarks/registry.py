"""The benchmarks there are."""

from __future__ import annotations

from scripts.benchmarks import agents, engine, fairness, gateway, prefix, router, steps
from scripts.benchmarks.benchmark import Benchmark

_ALL = (
    Benchmark("engine", "a chat model behind Triton, against its engine directly", engine.run),
    Benchmark("gateway", "the front door with a null model, against LiteLLM's proxy", gateway.run),
    Benchmark("steps", "durable steps, against LangGraph and DBOS", steps.run),
    Benchmark("router", "router and embedder, batching on and off, against OpenVINO", router.run),
    Benchmark("agents", "100 to 5,000 agents at once, against its own line at 100", agents.run),
    Benchmark("fairness", "waiting while one tenant floods, against FIFO", fairness.run),
    Benchmark("prefix", "the tenth turn's first token, with and without prefix cache", prefix.run),
)
BENCHMARKS = {one.name: one for one in _ALL}
