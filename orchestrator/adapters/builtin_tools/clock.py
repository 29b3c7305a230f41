"""`current_time`: date, time and weekday in a time zone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from orchestrator.adapters.builtin_tools.registry import ToolFailed

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
CITIES = {
    "amsterdam": "Europe/Amsterdam",
    "barcelona": "Europe/Madrid",
    "beijing": "Asia/Shanghai",
    "boston": "America/New_York",
    "delhi": "Asia/Kolkata",
    "frankfurt": "Europe/Berlin",
    "geneva": "Europe/Zurich",
    "hamburg": "Europe/Berlin",
    "milan": "Europe/Rome",
    "mumbai": "Asia/Kolkata",
    "munich": "Europe/Berlin",
    "new delhi": "Asia/Kolkata",
    "osaka": "Asia/Tokyo",
    "rio de janeiro": "America/Sao_Paulo",
    "san francisco": "America/Los_Angeles",
    "seattle": "America/Los_Angeles",
    "washington": "America/New_York",
}
"""Cities that give no time zone their name."""


class Clock:
    """Knows zones by IANA name and by city, in any case of letters."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._zones = _zone_names()

    async def tell(self, arguments: Mapping[str, Any]) -> str:
        asked: str = arguments["timezone"]
        name = self._zones.get(asked.strip().lower().replace("_", " "))
        if name is None:
            raise ToolFailed(
                f"there is no time zone {asked[:60]!r}; "
                "use an IANA name such as Europe/Paris or UTC, or a large city"
            )
        there = self._now().astimezone(ZoneInfo(name))
        # Not %A, which would follow the process's locale.
        return f"{there:%Y-%m-%d %H:%M} {DAYS[there.weekday()]} {name}"


def _zone_names() -> Mapping[str, str]:
    names = sorted(available_timezones())
    zones = {name.lower().replace("_", " "): name for name in names}
    for name in names:
        area, _, city = name.rpartition("/")
        if area and area != "Etc":  # Etc/GMT+3 is three hours behind, not ahead
            zones.setdefault(city.lower().replace("_", " "), name)
    return {**zones, **CITIES}
