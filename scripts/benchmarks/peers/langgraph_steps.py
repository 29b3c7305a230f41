"""Runs of three steps in LangGraph: reason, tool, reason. Run by LangGraph's own interpreter.

python langgraph_steps.py memory|sqlite|postgres|none PLACE RUNS AT_ONCE
"""

import asyncio
import json
import operator
import resource
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypedDict

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from psycopg_pool import AsyncConnectionPool


class State(TypedDict):
    messages: Annotated[list[dict[str, Any]], operator.add]


async def reason(state: State) -> dict[str, Any]:
    if state["messages"][-1]["role"] == "user":
        call = {"name": "calculator", "arguments": {"expression": "6 * 7"}}
        return {"messages": [{"role": "assistant", "content": "", "call": call}]}
    return {"messages": [{"role": "assistant", "content": "It is 42."}]}


async def tool(state: State) -> dict[str, Any]:
    left, _, right = state["messages"][-1]["call"]["arguments"]["expression"].split()
    return {"messages": [{"role": "tool", "content": str(int(left) * int(right))}]}


def after_reason(state: State) -> str:
    return "tool" if "call" in state["messages"][-1] else END


@asynccontextmanager
async def saver(kind: str, place: str) -> AsyncIterator[Any]:
    if kind == "none":
        yield None
    elif kind == "memory":
        yield InMemorySaver()
    elif kind == "sqlite":
        async with AsyncSqliteSaver.from_conn_string(place) as made:
            yield made
    else:
        options = {"autocommit": True, "prepare_threshold": 0}
        async with AsyncConnectionPool(place, min_size=8, max_size=8, kwargs=options) as pool:
            made = AsyncPostgresSaver(pool)
            await made.setup()
            yield made


async def main(kind: str, place: str, runs: int, at_once: int) -> None:
    graph = StateGraph(State)
    graph.add_node("reason", reason)
    graph.add_node("tool", tool)
    graph.add_edge(START, "reason")
    graph.add_conditional_edges("reason", after_reason)
    graph.add_edge("tool", "reason")
    async with saver(kind, place) as checkpointer:
        app = graph.compile(checkpointer=checkpointer)
        took: list[float] = []
        wrong = 0

        async def one(number: int | str) -> None:
            nonlocal wrong
            async with room:
                began = time.perf_counter()
                config = {"configurable": {"thread_id": str(number)}}
                question = {"messages": [{"role": "user", "content": "What is 6 * 7?"}]}
                ended = await app.ainvoke(question, config)
                took.append(time.perf_counter() - began)
                wrong += ended["messages"][-1]["content"] != "It is 42."

        room = asyncio.Semaphore(at_once)
        await asyncio.gather(*(one(f"w{n}") for n in range(min(50, runs))))
        took.clear()
        cpu = time.process_time()
        began = time.perf_counter()
        await asyncio.gather(*(one(n) for n in range(runs)))
        seconds = time.perf_counter() - began
        found = {
            "steps_per_s": 3 * runs / seconds,
            "run_p50_ms": statistics.median(took) * 1000,
            "cpu_s": time.process_time() - cpu,
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "wrong": wrong,
        }
        print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
