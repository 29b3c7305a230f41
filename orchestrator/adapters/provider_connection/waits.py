"""How long a provider asks us to wait, from the headers of its answer."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_WAIT_S = 86_400.0

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
# (what is left, when it is full again): of OpenAI as a span, of Anthropic as a time (RFC 3339).
_LIMITS = (
    *(
        (f"x-ratelimit-remaining-{what}", f"x-ratelimit-reset-{what}")
        for what in ("requests", "tokens")
    ),
    *(
        (f"anthropic-ratelimit-{what}-remaining", f"anthropic-ratelimit-{what}-reset")
        for what in ("requests", "tokens", "input-tokens", "output-tokens")
    ),
)


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """`now` is the time of the Unix epoch; names of `headers` are in lower case.

    Where it does not ask (`asked_s`), the longest reset of the limits that are used up, or that
    are told.
    """
    told = asked_s(headers, now)
    if told is None:
        used_up = [reset for left, reset in _LIMITS if headers.get(left, "").strip() == "0"]
        told = _longest(headers, used_up, now)
        if told is None:
            told = _longest(headers, [reset for _, reset in _LIMITS], now)
    return _bounded(told)


def asked_s(headers: Mapping[str, str], now: float) -> float | None:
    """What it says in so many words: `retry-after-ms` (OpenAI), which is finer than `retry-after`
    (RFC 9110, 10.2.3: seconds or a date).
    """
    asked = (
        _number(headers.get("retry-after-ms"), 0.001),
        _number(headers.get("retry-after"), 1.0),
        _until_date(headers.get("retry-after"), now),
    )
    return _bounded(next((wait for wait in asked if wait is not None), None))


def _bounded(wait_s: float | None) -> float | None:
    return None if wait_s is None else min(max(wait_s, 0.0), MAX_WAIT_S)


def _longest(headers: Mapping[str, str], names: Iterable[str], now: float) -> float | None:
    told = (_reset(headers.get(name), now) for name in names)
    return max((wait for wait in told if wait is not None), default=None)


def _reset(value: str | None, now: float) -> float | None:
    if not value:
        return None
    value = value.strip()
    if _SPAN.sub("", value) == "":
        return sum(float(count) * _UNIT_S[unit] for count, unit in _SPAN.findall(value))
    seconds = _number(value, 1.0)
    return seconds if seconds is not None else _until_time(value, now)


def _number(value: str | None, unit_s: float) -> float | None:
    try:
        number = float(value) if value else math.nan
    except ValueError:
        return None
    return number * unit_s if math.isfinite(number) else None


def _until_date(value: str | None, now: float) -> float | None:
    try:
        return _aware(parsedate_to_datetime(value)).timestamp() - now if value else None
    except (ValueError, OverflowError):
        return None


def _until_time(value: str, now: float) -> float | None:
    try:
        return _aware(datetime.fromisoformat(value)).timestamp() - now
    except (ValueError, OverflowError):
        return None


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)
