"""`lookup`: records by key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from orchestrator.adapters.builtin_tools.registry import ToolFailed


class Records:
    """Keys are upper case; a request may write them in any case."""

    def __init__(self, records: Mapping[str, Any]) -> None:
        self._records = records

    async def look_up(self, arguments: Mapping[str, Any]) -> str:
        key: str = arguments["key"].strip()
        record = self._records.get(key.upper())
        if record is None:
            raise ToolFailed(
                f"there is no record {key[:60]!r}; "
                "orders have keys such as A1042, products such as P07"
            )
        return json.dumps(record)
