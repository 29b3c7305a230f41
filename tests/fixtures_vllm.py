"""vLLM's own server for the test session. Registered as a plugin by `tests/conftest.py`.

It serves llm_large by OpenAI's protocol (`/v1/chat/completions`, `/v1/responses`) and
Anthropic's (`/v1/messages`).
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from orchestrator.redis_server import free_port

ROOT = Path(__file__).parent.parent
INSTALLED = ROOT / ".fleet" / "engines" / "vllm"
WEIGHTS = ROOT / "model_repository" / "llm_large" / "1" / "hugging_face"
MODEL = "llm_large"

READY_S = 180.0
STOP_S = 20.0
# A test run that is killed runs no finalizers: the kernel ends the server then (PR_SET_PDEATHSIG).
LAUNCH = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); os.execv(sys.argv[1], sys.argv[1:])"
)
VARIABLES = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}
ARGUMENTS = (
    *("--model", str(WEIGHTS), "--served-model-name", MODEL, "--max-model-len", "2048"),
    *("--enforce-eager", "--max-num-seqs", "64", "--gpu-memory-utilization", "0.3"),
    *("--enable-auto-tool-choice", "--tool-call-parser", "hermes"),
)


@dataclass(frozen=True)
class RunningVllm:
    """`url` has no path: OpenAI's clients want `url + "/v1"`, Anthropic's `url`."""

    url: str
    model: str
    log: Path


def vllm_python() -> Path:
    """The interpreter of an environment with vLLM. Without one: skipped, in CI failed."""
    python = Path(os.environ.get("FLEET_VLLM_ENV") or INSTALLED) / "bin" / "python"
    if not os.access(python, os.X_OK):
        reason = (
            f"there is no vLLM: {python} does not exist; run .venv/bin/fleet engines install vllm, "
            "or name an environment in FLEET_VLLM_ENV"
        )
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return python


@pytest.fixture(scope="session")
async def vllm_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningVllm]:
    python, port = vllm_python(), free_port()
    log = tmp_path_factory.mktemp("vllm") / "server.log"
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", *ARGUMENTS]
    variables = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", LAUNCH, *command, "--host", "127.0.0.1", "--port", str(port)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=log.parent,
            env={**variables, **VARIABLES},
        )
    url = f"http://127.0.0.1:{port}"
    try:
        await _until_ready(process, url, log)
        yield RunningVllm(url, MODEL, log)
    finally:
        await _end(process)


async def _until_ready(process: asyncio.subprocess.Process, url: str, log: Path) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(READY_S), httpx2.AsyncClient(trust_env=False) as client:
            while process.returncode is None:
                with suppress(httpx2.TransportError):
                    if (await client.get(f"{url}/health")).status_code == 200:
                        return
                await asyncio.sleep(0.2)
    pytest.fail(f"vLLM's server was not ready within {READY_S:.0f} s:\n{_last_words(log)}")


def _last_words(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])


async def _end(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()  # it ends its engine and worker processes itself
    try:
        await asyncio.wait_for(process.wait(), STOP_S)
    except TimeoutError:
        process.kill()
        await process.wait()
