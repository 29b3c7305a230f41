"""A client of an OpenAI-compatible server that costs little: it shares the cores with the server.

Keeps one connection for each caller and reads no more of an answer than it has to.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator

from scripts.benchmarks.outcome import WrongAnswer

ANSWER = "It is 42."


async def chat(port: int, key: str, model: str, *, callers: int, requests: int) -> list[float]:
    """Sends the requests, `callers` of them at once; returns how long each took, in ms."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello."}]})
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    request, took = (head + body).encode(), list[float]()
    left = iter(range(requests))
    await asyncio.gather(*(_caller(port, request, left, took) for _ in range(callers)))
    return took


async def _caller(port: int, request: bytes, left: Iterator[int], took: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for _ in left:
            began = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(_length(head))
            took.append((time.perf_counter() - began) * 1000)
            if b" 200 " not in head.partition(b"\r\n")[0] or ANSWER.encode() not in body:
                raise WrongAnswer(f"the proxy answered {body[:200].decode('utf-8', 'replace')!r}")
    finally:
        writer.close()


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise WrongAnswer("the proxy's answer does not say how long it is")
