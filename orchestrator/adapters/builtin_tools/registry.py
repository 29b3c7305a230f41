"""A registry of tools that run in this process."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from orchestrator.domain.messages import ToolCall
from orchestrator.domain.tools import ToolResult, ToolSpec
from orchestrator.ports.tools import ToolRegistry

MAX_ARGUMENTS_CHARS = 16_384
MAX_CONTENT_CHARS = 4_000

Run = Callable[[Mapping[str, Any]], Awaitable[str]]

_log = logging.getLogger(__name__)


class ToolFailed(Exception):
    """The tool can't do what it was asked; the message tells the model why."""


@dataclass(frozen=True, slots=True)
class Tool:
    """`run` gets arguments that fit the schema and returns what the model is shown.

    It may raise `ToolFailed`.
    """

    spec: ToolSpec
    run: Run


class BuiltinTools(ToolRegistry):
    """Arguments that the tool's schema does not name are refused, whatever the schema says."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._tools = {tool.spec.schema.name: tool for tool in tools}
        self._validators = {
            name: Draft202012Validator(
                {**tool.spec.schema.parameters, "additionalProperties": False}
            )
            for name, tool in self._tools.items()
        }

    def specs(self) -> Mapping[str, ToolSpec]:
        return {name: tool.spec for name, tool in self._tools.items()}

    async def call(self, call: ToolCall, *, key: str) -> ToolResult:  # noqa: ARG002 - all are pure
        tool = self._tools.get(call.name)
        if tool is None:
            names = ", ".join(self._tools)
            return _failure(f"there is no tool {call.name[:64]!r}; the tools are: {names}")
        try:
            arguments = self._read(call)
            async with asyncio.timeout(tool.spec.timeout_s):
                content = await tool.run(arguments)
        except ToolFailed as failed:
            return _failure(str(failed))
        except TimeoutError:
            return _failure(f"{call.name} took longer than {tool.spec.timeout_s:g} s")
        except Exception as defect:  # noqa: BLE001 - whatever a tool does, its run goes on
            _log.error("tool %s failed: %s", call.name, type(defect).__name__)
            return _failure(f"{call.name} failed")
        return ToolResult(ok=True, content=_bounded(content))

    def _read(self, call: ToolCall) -> Mapping[str, Any]:
        if len(call.arguments_json) > MAX_ARGUMENTS_CHARS:
            raise ToolFailed(f"the arguments are longer than {MAX_ARGUMENTS_CHARS} characters")
        try:
            arguments: Any = json.loads(call.arguments_json)
        except (ValueError, RecursionError):
            raise ToolFailed("the arguments are not a JSON object") from None
        wrong = best_match(self._validators[call.name].iter_errors(arguments))
        if wrong is not None:
            where = "".join(f".{part}" for part in wrong.absolute_path)
            raise ToolFailed(f"arguments{where}: {wrong.message}")
        return dict(arguments)


def _failure(why: str) -> ToolResult:
    return ToolResult(ok=False, content=json.dumps({"error": _bounded(why)}))


def _bounded(text: str) -> str:
    if len(text) <= MAX_CONTENT_CHARS:
        return text
    return f"{text[: MAX_CONTENT_CHARS - 1]}…"
