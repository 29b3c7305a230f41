"""What routing adds to a step at one caller: the ensemble's call, the signals, the decision.

Starts a Triton of its own with the router's models and chooses a model for one request after the
other, as a worker does: texts that were never seen, then the same ones again. With --json the
last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import uvloop

from orchestrator.adapters.scripted_models import ScriptedLanguageModel
from orchestrator.adapters.triton import TritonConnection, TritonGauges, TritonRouter
from orchestrator.domain.agents import Agent, AgentSpec
from orchestrator.domain.messages import Message, Role
from orchestrator.domain.runs import Run
from orchestrator.model_calls.classified import CachedClassifier
from orchestrator.model_calls.observed import Observed
from orchestrator.model_calls.router import LiveModels
from orchestrator.settings import embedded_catalogue
from orchestrator.triton import TritonConfig, TritonServer
from orchestrator.worker.choice import ModelChoice
from scripts.perf.repository import copy_repositories
from scripts.router_training.requests import load_requests

ROOT = Path(__file__).resolve().parents[2]
MODELS = {
    "agent_router",
    "embedder",
    "task_classifier",
    "complexity_classifier",
    "risk_classifier",
}
WARM_UP = 50
SYSTEM_PROMPT = "You are a helpful assistant with tools."


def parse() -> argparse.Namespace:
    summary = (__doc__ or "").split("\n\n", maxsplit=1)[0]
    parser = argparse.ArgumentParser(prog="scripts/bench_routing", description=summary)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--json", action="store_true", help="print a JSON object as the last line")
    return parser.parse_args()


async def measure(requests: int) -> dict[str, float]:
    known = [
        request.text for request in load_requests(ROOT / "scripts/router_training/requests.jsonl")
    ]
    texts = [f"{known[n % len(known)]} ({n})" for n in range(WARM_UP + requests)]
    async with _choice() as choice:
        await _choose(choice, texts[:WARM_UP])
        new = await _choose(choice, texts[WARM_UP:])
        cached = await _choose(choice, texts[WARM_UP:])
    return {
        "new_p50_ms": round(statistics.median(new), 3),
        "new_p99_ms": round(sorted(new)[int(len(new) * 0.99)], 3),
        "cached_p50_ms": round(statistics.median(cached), 3),
        "cached_p99_ms": round(sorted(cached)[int(len(cached) * 0.99)], 3),
    }


@asynccontextmanager
async def _choice() -> AsyncIterator[ModelChoice]:
    catalogue = embedded_catalogue()
    async with AsyncExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="bench_routing_")))
        sources = (ROOT / "model_repository", ROOT / "ensembles")
        config = TritonConfig(
            repositories=copy_repositories(sources, folder, MODELS, lambda _, text: text),
            backends_dir=ROOT / "backends",
            runtime_dir=folder / "runtime",
        )
        server = await opened.enter_async_context(TritonServer(config))
        triton = await opened.enter_async_context(TritonConnection(server.grpc_url))
        gauges = await opened.enter_async_context(TritonGauges([server.metrics_url], catalogue))
        observed = Observed(ScriptedLanguageModel([]), gauges)
        yield ModelChoice(
            CachedClassifier(TritonRouter(triton)), catalogue, LiveModels(signals=observed.signals)
        )


async def _choose(choice: ModelChoice, texts: Sequence[str]) -> list[float]:
    """Returns how long each choice took, in ms."""
    spec = AgentSpec(system_prompt=SYSTEM_PROMPT, tools=("calculator",))
    agent = Agent(name="bench", version=1, spec=spec, created_ms=0)
    took: list[float] = []
    for text in texts:
        run = Run(run_id="r", tenant="t", session_id="s", agent="bench@1", input=text)
        messages = (
            Message(role=Role.SYSTEM, content=SYSTEM_PROMPT),
            Message(role=Role.USER, content=text),
        )
        began = time.perf_counter()
        await choice.choose(run, agent, messages, {})
        took.append((time.perf_counter() - began) * 1000)
    return took


def main() -> None:
    asked = parse()
    found = uvloop.run(measure(asked.requests))
    for name, value in found.items():
        print(f"{name:16} {value}")
    if asked.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
