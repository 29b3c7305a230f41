"""Ids of tool calls: `call_1`, `call_2`, …"""

from __future__ import annotations

from itertools import count

from orchestrator.tool_calls.parser import NewCallId


def numbered(prefix: str = "call_") -> NewCallId:
    """Returns a factory of `prefix` + 1, 2, 3, …"""
    numbers = count(1)
    return lambda: f"{prefix}{next(numbers)}"
