"""What is measured: the short models with and without dynamic batching, the LLM's streams."""

import asyncio
import itertools
import json
import random
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.triton import TritonConfig, TritonServer
from scripts.perf.binary import PerfAnalyzer
from scripts.perf.direct import DirectRates, direct_throughput
from scripts.perf.load import WINDOWS, Load, run_load, write_input_data
from scripts.perf.repository import (
    Edit,
    Setting,
    copy_repositories,
    with_settings,
    without_batching,
)
from scripts.perf.streaming import StreamLoad, run_stream_load, stream_prompts

ROOT = Path(__file__).parents[2]
REPOSITORIES = (ROOT / "model_repository", ROOT / "ensembles")
REQUESTS = ROOT / "scripts" / "router_training" / "requests.jsonl"
EMBEDDER, ROUTER = "embedder", "agent_router"
ROUTER_MODELS = (
    *[EMBEDDER, "task_classifier", "complexity_classifier", "risk_classifier"],
    ROUTER,
)
VARIANTS = ("as configured", "dynamic batching off")
CONCURRENCIES = (1, 2, 4, 8, 16, 32, 64, 128)
# More texts than a model here answers in a second, so that none comes round again.
TEXTS_PER_S = 1500
DIRECT_TEXTS = 2048

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    concurrencies: Sequence[int] = CONCURRENCIES
    window_ms: int = 700
    rounds: int = 3
    models: Sequence[str] = (EMBEDDER, ROUTER)
    settings: Sequence[Setting] = ()
    """Tried instead of what the repository has."""
    variants: Sequence[str] = VARIANTS
    llm: str = "llm_small"
    llm_concurrencies: Sequence[int] = (1, 8, 32)

    @property
    def texts_per_load(self) -> int:
        """perf_analyzer takes its windows, and about as long before them."""
        return 2 * (WINDOWS + 1) * TEXTS_PER_S * max(1000, self.window_ms) // 1000


@dataclass
class Measurements:
    direct: list[DirectRates] = field(default_factory=list)
    """OpenVINO alone, before the first round and after each."""
    batched: list[Load] = field(default_factory=list)
    """One of each model and number of callers a round, round after round."""
    unbatched: list[Load] = field(default_factory=list)
    streams: list[StreamLoad] = field(default_factory=list)


def distinct_texts(count: int, series: int = 0) -> list[str]:
    """Requests of the labelled file, each with a number of its own.

    No two are the same, in one series or in two, so that the response cache never hits.
    """
    lines = REQUESTS.read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    chosen = random.Random(series).choices(texts, k=count)  # noqa: S311 - not for secrets
    return [f"{text} [{series}.{number}]" for number, text in enumerate(chosen)]


async def sweep_router(
    plan: Plan, analyzer: PerfAnalyzer, folder: Path, tell: Tell
) -> Measurements:
    """Both variants are up at once and measured in turn: a machine's speed drifts."""
    results = Measurements()
    texts = distinct_texts(DIRECT_TEXTS)
    version = ROOT / "model_repository" / EMBEDDER / "1"
    series = itertools.count(1)
    needed = ROUTER_MODELS if ROUTER in plan.models else plan.models

    async def direct() -> None:
        rates = await asyncio.to_thread(
            direct_throughput, version, texts, 2 * WINDOWS * plan.window_ms / 1000
        )
        tell(
            f"OpenVINO directly, batch 32: {rates.in_order:.0f} texts/s as they come, "
            f"{rates.by_length:.0f} sorted by length"
        )
        results.direct.append(rates)

    async def measure(name: str, url: str, model: str, concurrency: int) -> Load:
        rows = [{"TEXT": text} for text in distinct_texts(plan.texts_per_load, next(series))]
        data = write_input_data(folder / "texts.json", rows)
        load = await asyncio.to_thread(
            run_load,
            analyzer,
            url,
            model,
            concurrency,
            input_data=data,
            window_ms=plan.window_ms,
        )
        tell(
            f"{model}, {name}, {concurrency} callers: "
            f"{load.throughput:.0f}/s, p50 {load.p50_ms:.1f} ms"
        )
        return load

    variants: list[tuple[str, Edit, list[Load]]] = [
        ("as configured", with_settings(plan.settings), results.batched),
        ("dynamic batching off", without_batching, results.unbatched),
    ]
    async with AsyncExitStack() as up:
        servers = []
        for name, edit, loads in variants:
            if name in plan.variants:
                # Triton starts its stubs through a shell: no blank may be in their path.
                slug = name.replace(" ", "-")
                copies = copy_repositories(REPOSITORIES, folder / slug, needed, edit)
                server = await up.enter_async_context(serving(copies, folder / f"run-{slug}"))
                servers.append((name, server.grpc_url, loads))
        await direct()
        for _ in range(plan.rounds):
            for model, concurrency in itertools.product(plan.models, plan.concurrencies):
                for name, url, loads in servers:
                    loads.append(await measure(name, url, model, concurrency))
            await direct()
    return results


async def sweep_streams(
    plan: Plan, analyzer: PerfAnalyzer, folder: Path, tell: Tell
) -> list[StreamLoad]:
    prompts = stream_prompts(folder, distinct_texts(2000))
    copies = copy_repositories(REPOSITORIES[:1], folder / "llm", (plan.llm,), with_settings(()))
    streams = []
    async with serving(copies, folder / "run-llm") as server:
        for concurrency in plan.llm_concurrencies:
            stream = await asyncio.to_thread(
                run_stream_load, analyzer, server.grpc_url, plan.llm, concurrency, prompts
            )
            tell(
                f"{plan.llm}, {concurrency} streams: {stream.tokens_per_s:.0f} tokens/s, "
                f"first token p50 {stream.ttft_p50_ms:.1f} ms"
            )
            streams.append(stream)
    return streams


def has_llm(model: str) -> bool:
    return (REPOSITORIES[0] / model / "1" / "openvino" / "openvino_model.bin").exists()


def serving(repositories: tuple[Path, ...], runtime: Path) -> TritonServer:
    """With the response cache, as in service: every text of the loads is new, so it never hits."""
    return TritonServer(
        TritonConfig(repositories=repositories, runtime_dir=runtime, backends_dir=ROOT / "backends")
    )
