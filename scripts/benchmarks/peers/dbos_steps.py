"""Runs of three steps in DBOS on PostgreSQL: reason, tool, reason. Run by DBOS' own interpreter.

python dbos_steps.py URL RUNS AT_ONCE
"""

import asyncio
import json
import logging
import statistics
import sys
import time
from typing import Any

from dbos import DBOS


@DBOS.step()
async def reason(messages: list[dict[str, Any]]) -> dict[str, Any]:
    if messages[-1]["role"] == "user":
        call = {"name": "calculator", "arguments": {"expression": "6 * 7"}}
        return {"role": "assistant", "content": "", "call": call}
    return {"role": "assistant", "content": "It is 42."}


@DBOS.step()
async def tool(call: dict[str, Any]) -> dict[str, Any]:
    left, _, right = call["arguments"]["expression"].split()
    return {"role": "tool", "content": str(int(left) * int(right))}


@DBOS.workflow()
async def run(question: str) -> str:
    messages: list[dict[str, Any]] = [{"role": "user", "content": question}]
    while True:
        said = await reason(messages)
        messages.append(said)
        if "call" not in said:
            return str(said["content"])
        messages.append(await tool(said["call"]))


async def main(url: str, runs: int, at_once: int) -> None:
    DBOS(config={"name": "bench", "system_database_url": url, "log_level": "ERROR"})
    logging.getLogger("dbos").setLevel(logging.ERROR)
    DBOS.launch()
    room = asyncio.Semaphore(at_once)
    took: list[float] = []
    wrong = 0

    async def one() -> None:
        nonlocal wrong
        async with room:
            began = time.perf_counter()
            wrong += await run("What is 6 * 7?") != "It is 42."
            took.append(time.perf_counter() - began)

    await asyncio.gather(*(one() for _ in range(min(30, runs))))
    took.clear()
    cpu = time.process_time()
    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(runs)))
    seconds = time.perf_counter() - began
    found = {
        "steps_per_s": 3 * runs / seconds,
        "run_p50_ms": statistics.median(took) * 1000,
        "cpu_s": time.process_time() - cpu,
        "wrong": wrong,
    }
    DBOS.destroy()
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
