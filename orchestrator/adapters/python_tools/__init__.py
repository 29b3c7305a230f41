"""Python functions as tools: `@tool` declares one, `PythonTools` runs them."""

from orchestrator.adapters.python_tools.declaration import (
    Declared,
    ToolFailed,
    ToolLoadError,
    ToolUnavailable,
    tool,
)
from orchestrator.adapters.python_tools.loading import from_entry_points, from_reference
from orchestrator.adapters.python_tools.source import PythonTools

__all__ = [
    "Declared",
    "PythonTools",
    "ToolFailed",
    "ToolLoadError",
    "ToolUnavailable",
    "from_entry_points",
    "from_reference",
    "tool",
]
