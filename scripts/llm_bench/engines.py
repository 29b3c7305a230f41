"""The engines by themselves, and all the ways in which they are served."""

import asyncio
import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from backends.openvino_genai.settings import load_settings
from backends.vllm.settings import load_model
from scripts.llm_bench.client import Round, burst, request_bytes
from scripts.llm_bench.direct import SAMPLING, Direct
from scripts.llm_bench.measure import Way
from scripts.llm_bench.server import PER_TOKEN, ROOT, Served
from scripts.llm_bench.vllm_engine import OpenAiServer, VllmDirect


class NoVllm(Exception):
    """vLLM is not installed; the message says where it was looked for."""


@dataclass(frozen=True, slots=True)
class Opened:
    direct: Direct
    ways: dict[str, Way]


def triton_way(address: str, model: str, *, stream: bool) -> Way:
    def ask(texts: list[str]) -> Round:
        requests = [
            request_bytes(model, i, text, SAMPLING, stream=stream) for i, text in enumerate(texts)
        ]
        return asyncio.run(burst(address, requests))

    return ask


def open_openvino(model: str, address: str) -> Opened:
    from scripts.llm_bench.openvino_engine import OpenVinoDirect  # noqa: PLC0415

    ways = {
        "whole": triton_way(address, model, stream=False),
        "streamed": triton_way(address, model, stream=True),
        "streamed, one token a message": triton_way(address, PER_TOKEN, stream=True),
    }
    version = ROOT / "model_repository" / model / "1"
    return Opened(OpenVinoDirect(*load_settings(version)), ways)


def open_vllm(model: str, served: Served, python: Path, open_now: ExitStack) -> Opened:
    files = load_model(served.repository / model / "1")
    openai = open_now.enter_context(OpenAiServer(python, files, served.repository / "openai.log"))
    direct = open_now.enter_context(VllmDirect(python, files))
    ways = {
        "whole": triton_way(served.grpc_url, model, stream=False),
        "streamed": triton_way(served.grpc_url, model, stream=True),
        "vLLM's OpenAI server, whole": lambda texts: openai.burst(texts, stream=False),
        "vLLM's OpenAI server, streamed": lambda texts: openai.burst(texts, stream=True),
    }
    return Opened(direct, ways)


def vllm_environment() -> Path:
    """Raises NoVllm."""
    folder = Path(os.environ.get("FLEET_VLLM_ENV") or ROOT / ".fleet" / "engines" / "vllm")
    if not (folder / "bin" / "python").exists():
        raise NoVllm(f"no vLLM in {folder}; fleet engines install vllm makes it")
    return folder
