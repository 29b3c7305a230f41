"""A call's arguments as an HTTP request."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import httpx2

from orchestrator.adapters.http_tools.declaration import HttpTool, Place
from orchestrator.domain.tools import Effect


class NoSuchPath(Exception):
    """An argument can't be part of a path; the message names it."""


def build(tool: HttpTool, arguments: Mapping[str, Any], *, key: str) -> httpx2.Request:
    """Raises NoSuchPath."""
    rest = {name: value for name, value in arguments.items() if name not in tool.placeholders}
    parts = urlsplit(tool.url)
    path = re.sub(r"\{(\w+)\}", lambda found: _segment(found[1], arguments), parts.path)
    query, body = parts.query, None
    if tool.arguments is Place.QUERY:
        query = "&".join(filter(None, (query, urlencode(_pairs(rest)))))
    else:
        body = json.dumps(rest, ensure_ascii=False).encode()
    headers = {
        "Accept": "application/json, text/*;q=0.9, */*;q=0.1",
        "Accept-Encoding": "identity",
        "User-Agent": "agent-fleet",
        **{name: value.get_secret_value() for name, value in tool.headers.items()},
    }
    if body is not None:
        headers["Content-Type"] = "application/json"
    if tool.spec.effect is not Effect.PURE:
        headers["Idempotency-Key"] = key
    url = urlunsplit((parts.scheme, parts.netloc, path or "/", query, ""))
    return httpx2.Request(tool.method, url, headers=headers, content=body)


def _segment(name: str, arguments: Mapping[str, Any]) -> str:
    value = _text(arguments[name])
    if not value or set(value) <= {"."} or isinstance(arguments[name], (list, dict)):
        raise NoSuchPath(f"arguments.{name}: {value[:60]!r} can't be part of a path")
    return quote(value, safe="")


def _pairs(arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A list gives its name once for each value; what is null is left out."""
    return [
        (name, _text(each))
        for name, value in arguments.items()
        for each in (value if isinstance(value, list) else [value])
        if each is not None
    ]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
