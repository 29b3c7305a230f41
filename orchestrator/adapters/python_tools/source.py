"""Runs Python functions as tools: async ones on the loop, others in threads."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from pydantic_core import PydanticSerializationError, to_json

from orchestrator.adapters.python_tools.declaration import (
    Declared,
    ToolFailed,
    ToolLoadError,
    ToolUnavailable,
)
from orchestrator.adapters.python_tools.signature import ArgumentsDoNotFit
from orchestrator.adapters.python_tools.threads import NoThread, Threads
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.tools import Outcome, ToolResult, ToolSpec, failure
from orchestrator.ports.tools import ToolSource

log = logging.getLogger(__name__)


class PythonTools(ToolSource):
    """`threads` bounds the calls of blocking functions that run at once, hung ones included."""

    def __init__(self, tools: Iterable[Declared], *, threads: int = 32) -> None:
        self._tools: dict[str, Declared] = {}
        for each in tools:
            name = each.spec.schema.name
            if name in self._tools:
                raise ToolLoadError(
                    f"two Python tools are named {name!r}: give one of them another"
                )
            self._tools[name] = each
        self._specs = {name: each.spec for name, each in self._tools.items()}
        self.threads = Threads(threads)

    def specs(self) -> Mapping[str, ToolSpec]:
        return self._specs

    async def call(self, call: ToolCall, *, key: str, timeout_s: float) -> ToolResult:
        each = self._tools[call.name]
        try:
            bound = each.signature.bind(json.loads(call.arguments_json), key=key)
        except ArgumentsDoNotFit as wrong:
            return failure(str(wrong))
        try:
            async with asyncio.timeout(timeout_s) as limit:
                value = await self._run(each, bound)
        except TimeoutError:
            if limit.expired():
                return failure(f"{call.name} took longer than {timeout_s:.3g} s", Outcome.UNKNOWN)
            return _broke(call.name, "TimeoutError")
        except ToolFailed as failed:
            return failure(str(failed))
        except ToolUnavailable as away:
            return failure(str(away), Outcome.TRANSIENT)
        except NoThread as busy:
            log.warning("tool %s was not run: %s", call.name, busy)
            return failure(f"{call.name} is busy", Outcome.TRANSIENT)
        except Exception as defect:  # noqa: BLE001 - whatever a tool does, its run goes on
            return _broke(call.name, type(defect).__name__)
        return _answered(call.name, value)

    async def _run(self, each: Declared, bound: dict[str, Any]) -> Any:
        if _is_async(each.function):
            return await each.function(**bound)
        return await self.threads.run(
            each.spec.schema.name, partial(each.function, **bound), share=each.spec.concurrency
        )


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object that is called
    )


def _broke(name: str, what: str) -> ToolResult:
    # What it says may hold arguments or secrets: only its kind is told.
    log.error("tool %s failed: %s", name, what)
    return failure(f"{name} failed", Outcome.UNKNOWN)


def _answered(name: str, value: Any) -> ToolResult:
    """It has happened: a value that can't be written is said to be so, and no failure."""
    if value is None:
        return ToolResult(Outcome.OK, "done")
    if isinstance(value, str):
        return ToolResult(Outcome.OK, value)
    if isinstance(value, bytes):
        return ToolResult(Outcome.OK, value.decode(errors="replace"))
    try:
        return ToolResult(Outcome.OK, to_json(value).decode())
    except (PydanticSerializationError, ValueError, RecursionError):
        log.warning("tool %s returned a %s, which has no JSON form", name, type(value).__name__)
        return ToolResult(Outcome.OK, f"done; the result, a {type(value).__name__}, has no text")
