"""vLLM without Triton: `LLM.generate`, and its OpenAI server, each in processes of its own."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from backends.llm_serving.process_group import kill_group
from backends.vllm.settings import VllmModel, engine_environment
from scripts.llm_bench import vllm_generate
from scripts.llm_bench.client import Answer, Round
from scripts.llm_bench.direct import NEW_TOKENS, SAMPLING

START_S = 120.0
STOP_S = 15.0
SERVED = "model"


class VllmProcess:
    """Ends with all it started."""

    def __init__(self, command: list[str], model: VllmModel, **streams: Any) -> None:
        variables = {**os.environ, **engine_environment(model)}
        variables.pop("PYTHONPATH", None)
        self.process = subprocess.Popen(command, env=variables, process_group=0, **streams)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_S)
        # vLLM's core outlives a front end that ends like this.
        kill_group(self.process.pid)
        self.process.wait()


class VllmDirect(VllmProcess):
    """`LLM.generate` with the engine arguments that the model is served with."""

    def __init__(self, python: Path, model: VllmModel) -> None:
        arguments = json.dumps(model.engine_args)
        command = [str(python), vllm_generate.__file__, arguments, str(NEW_TOKENS)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        super().__init__(command, model, **pipes)
        self._answer()

    def plain(self, text: str) -> str:
        return text

    def run(self, texts: list[str]) -> tuple[float, list[str]]:
        said: IO[str] | None = self.process.stdin
        assert said is not None
        said.write(json.dumps(texts) + "\n")
        said.flush()
        answer = self._answer()
        return answer["seconds"], answer["texts"]

    def _answer(self) -> dict[str, Any]:
        heard: IO[str] | None = self.process.stdout
        assert heard is not None
        for line in heard:
            if line.startswith(vllm_generate.ANSWER):
                found: dict[str, Any] = json.loads(line.removeprefix(vllm_generate.ANSWER))
                return found
        raise RuntimeError("vLLM's process ended; what it said is above")


class OpenAiServer(VllmProcess):
    """`python -m vllm.entrypoints.openai.api_server` with the same engine arguments."""

    def __init__(self, python: Path, model: VllmModel, log: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as found:
            self.port: int = found.getsockname()[1]
        arguments = ["--served-model-name", SERVED, "--host", "127.0.0.1", "--port", str(self.port)]
        for name, value in model.engine_args.items():
            arguments += _argument(name, value)
        module = "vllm.entrypoints.openai.api_server"
        arguments += ["--disable-uvicorn-access-log", "--uvicorn-log-level", "warning"]
        with log.open("wb") as output:
            command = [str(python), "-m", module, *arguments]
            super().__init__(command, model, stdout=output, stderr=output)
        self._await_ready(log)

    def burst(self, prompts: list[str], *, stream: bool) -> Round:
        return asyncio.run(_burst(self.port, prompts, stream=stream))

    def _await_ready(self, log: Path) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health"):
                    return
            except OSError:
                time.sleep(0.2)
        raise RuntimeError(f"vLLM's OpenAI server did not start:\n{log.read_text()[-2000:]}")


def _argument(name: str, value: object) -> list[str]:
    flag = "--" + name.replace("_", "-")
    if isinstance(value, bool):
        return [flag] if value else []
    return [flag, json.dumps(value) if isinstance(value, Mapping) else str(value)]


async def _burst(port: int, prompts: list[str], *, stream: bool) -> Round:
    """A client that costs little: what comes is kept and read after the clock has stopped."""
    requests = [_request(prompt, stream=stream) for prompt in prompts]
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in requests]
    began = time.perf_counter()
    heard = await asyncio.gather(
        *(_ask(*pair, one) for pair, one in zip(connections, requests, strict=True))
    )
    seconds = time.perf_counter() - began
    return Round(seconds, [_answer(parts, began, stream=stream) for parts in heard])


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> list[tuple[float, bytes]]:
    writer.write(request)
    parts: list[tuple[float, bytes]] = []
    while part := await reader.read(1 << 16):
        parts.append((time.perf_counter(), part))
    writer.close()
    return parts


def _request(prompt: str, *, stream: bool) -> bytes:
    body = json.dumps({"model": SERVED, "prompt": prompt, "stream": stream, **SAMPLING}).encode()
    head = (
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _answer(parts: list[tuple[float, bytes]], began: float, *, stream: bool) -> Answer:
    raw = b"".join(part for _, part in parts)
    if not raw.startswith(b"HTTP/1.1 200"):
        return Answer(error=raw[:200].decode(errors="replace"))
    events = [line[6:] for line in raw.split(b"\n") if line.startswith(b"data: {")]
    if not stream:
        events = [raw[raw.index(b"{") : raw.rindex(b"}") + 1]]
    texts = [json.loads(event)["choices"][0]["text"] for event in events]
    first = next(at for at, part in parts if b'"text"' in part)
    return Answer("".join(texts), len(texts), first - began, parts[-1][0] - began)
