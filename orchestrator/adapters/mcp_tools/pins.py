"""Tools as they were when a person looked at them, each with its digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.domain.errors import InvalidInput

_VERSION = 1


@dataclass(frozen=True, slots=True)
class PinnedTool:
    """A tool of an MCP server. The hints are the server's own words; no digest covers them."""

    name: str
    description: str
    input_schema: Mapping[str, Any]
    read_only_hint: bool = False
    idempotent_hint: bool = False

    @property
    def digest(self) -> str:
        return digest(self.name, self.description, self.input_schema)


def digest(name: str, description: str, input_schema: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical JSON of what a model is told of a tool."""
    told = {"name": name, "description": description, "inputSchema": input_schema}
    canonical = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"sha256:{hashlib.sha256(canonical.encode('utf-8', 'surrogatepass')).hexdigest()}"


def read_pins(file: Path) -> dict[str, PinnedTool]:
    """The tools of a file that `write_pins` wrote, by digest; none when there is no file.

    Raises:
        InvalidInput: the file can't be read or is something else.
    """
    try:
        tools = _tools(json.loads(file.read_text("utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InvalidInput(
            f"{file} holds no pinned MCP tools ({error}); `fleet tools pin` writes it anew"
        ) from None
    return {tool.digest: tool for tool in tools}


def _tools(written: Mapping[str, Any]) -> list[PinnedTool]:
    if written["version"] != _VERSION:
        raise ValueError(f"its version is {written['version']!r}, not {_VERSION}")
    return [_tool(entry) for entry in written["tools"]]


def _tool(entry: Mapping[str, Any]) -> PinnedTool:
    tool = PinnedTool(**entry)
    if not (isinstance(tool.name, str) and isinstance(tool.description, str)):
        raise TypeError("name and description must be text")
    if not isinstance(tool.input_schema, dict):
        raise TypeError(f"the input schema of {tool.name!r} must be an object")
    return tool


def write_pins(file: Path, tools: Iterable[PinnedTool]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    written = {"version": _VERSION, "tools": [asdict(tool) for tool in tools]}
    text = json.dumps(written, indent=2, ensure_ascii=False) + "\n"
    half = file.with_name(f"{file.name}.new")
    half.write_text(text, "utf-8")
    half.replace(file)
