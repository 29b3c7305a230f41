"""The tools every agent may be given.

`calculator`, `current_time`, `lookup` and `convert_units`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from orchestrator.adapters.builtin_tools.calculator import calculate
from orchestrator.adapters.builtin_tools.clock import Clock
from orchestrator.adapters.builtin_tools.converter import Converter
from orchestrator.adapters.builtin_tools.records import Records
from orchestrator.adapters.builtin_tools.registry import BuiltinTools, Run, Tool
from orchestrator.domain.chat import ToolSchema
from orchestrator.domain.tools import ToolSpec


def builtin_tools(
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    records: Mapping[str, Any] | None = None,
) -> BuiltinTools:
    """Makes the four tools, described as in `defaults/tools.json`.

    `now` returns an aware time; without `records`, `lookup` reads `defaults/support_desk.json`.
    """
    desk = _default("support_desk.json") if records is None else records
    runs: Mapping[str, Run] = {
        "calculator": calculate,
        "current_time": Clock(now).tell,
        "lookup": Records(desk).look_up,
        "convert_units": Converter().convert,
    }
    schemas = [_schema(entry["function"]) for entry in _default("tools.json")]
    return BuiltinTools(
        Tool(ToolSpec(schema=schema, timeout_s=2.0, kind="builtin"), runs[schema.name])
        for schema in schemas
    )


def _default(name: str) -> Any:
    return json.loads(files("orchestrator").joinpath("defaults", name).read_bytes())


def _schema(function: Mapping[str, Any]) -> ToolSchema:
    return ToolSchema(
        name=function["name"],
        description=function["description"],
        parameters=function["parameters"],
    )
