"""What the router makes of a text, by the function that the orchestrator decides with."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backends.classifier.head import Head
from orchestrator.adapters.triton import TritonConnection, TritonRouter
from orchestrator.domain.agents import ModelPolicy
from orchestrator.domain.catalogue import Capability, Catalogue
from orchestrator.domain.routing import Classification, Demand, decide
from scripts.router_training.requests import HEADS

_CHARACTERS_PER_TOKEN = 3
_NEW_TOKENS = 64


@dataclass(frozen=True)
class Routed:
    need: float
    """By how much the large model is expected to do better."""
    to_large: bool
    """What the default policy does, of these two models."""


def classify_here(texts: Sequence[str], repository: Path) -> list[Classification]:
    """The ensemble's models without Triton: the embedder's network and the heads."""
    encoder = importlib.import_module("model_repository.embedder.1.encoder")
    embeddings = encoder.TextEncoder(repository / "embedder" / "1").encode(list(texts))
    of_heads = []
    for name in HEADS:
        model = repository / f"{name}_classifier"
        labels = (model / "labels.txt").read_text(encoding="utf-8").split()
        rows = Head.load(model / "1").probabilities(embeddings)
        of_heads.append([dict(zip(labels, map(float, row), strict=True)) for row in rows])
    return [Classification(*heads) for heads in zip(*of_heads, strict=True)]


async def classify_by_triton(texts: Sequence[str], address: str) -> list[Classification]:
    async with TritonConnection(address) as connection:
        return list(await TritonRouter(connection).classify(texts))


def route(
    text: str, classification: Classification, catalogue: Catalogue, small: str, large: str
) -> Routed:
    decided = decide(
        Demand(
            capabilities={Capability.CHAT},
            prompt_tokens=len(text) // _CHARACTERS_PER_TOKEN,
            new_tokens=_NEW_TOKENS,
        ),
        classification,
        catalogue=catalogue,
        policy=ModelPolicy(models=(small, large)),
    )
    quality = {candidate.model: candidate.quality for candidate in decided.candidates}
    return Routed(quality[large] - quality[small], decided.model == large)
