"""What an HTTP tool is: an address, and where each argument goes."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

from pydantic import SecretStr

from orchestrator.domain.tools import ToolSpec

DEFAULT_PORTS = {"http": 80, "https": 443}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OURS = {
    "accept-encoding",
    "connection",
    "content-length",
    "content-type",
    "host",
    "idempotency-key",
    "te",
    "transfer-encoding",
    "upgrade",
}


class HttpToolError(Exception):
    """A tool can't be used as it is declared; the message says why and what would be right."""


class Place(StrEnum):
    """Where arguments go that are no part of the path."""

    BODY = "body"
    QUERY = "query"


@dataclass(frozen=True, slots=True)
class HttpTool:
    """`{name}` in the path of `url` is filled with that argument.

    `redirects` are followed to the same origin only, and only by GET. Of a response
    `max_response_bytes` are read.
    """

    spec: ToolSpec
    url: str
    method: str = "POST"
    arguments: Place = Place.BODY
    headers: Mapping[str, SecretStr] = field(default_factory=dict)
    redirects: int = 0
    max_response_bytes: int = 1_048_576

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port."""
        parts = urlsplit(self.url)
        return parts.scheme, parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme]

    @property
    def placeholders(self) -> tuple[str, ...]:
        return tuple(_PLACEHOLDER.findall(urlsplit(self.url).path))


def check(tool: HttpTool, *, hosts: Collection[str], internal: Collection[tuple[str, int]]) -> None:
    """Raises HttpToolError: the declaration is wrong, or its host is not on a list."""
    name = tool.spec.schema.name
    _check_url(name, tool)
    _check_headers(name, tool.headers)
    if tool.method not in METHODS:
        raise HttpToolError(
            f"HTTP tool {name!r}: method {tool.method!r} is none of {', '.join(METHODS)}"
        )
    if tool.method == "GET" and tool.arguments is Place.BODY:
        raise HttpToolError(f"HTTP tool {name!r}: GET has no body; its arguments go to the query")
    parameters = tool.spec.schema.parameters
    for placeholder in tool.placeholders:
        if placeholder not in parameters.get("required", ()):
            raise HttpToolError(
                f"HTTP tool {name!r}: {{{placeholder}}} in its url must be a required property "
                "of its parameters"
            )
    _, host, port = tool.origin
    if host not in hosts and (host, port) not in internal:
        raise HttpToolError(
            f"HTTP tool {name!r}: its host {host!r} is not allowed; name it in tools.hosts, or "
            f"'{host}:{port}' in tools.internal_hosts when its address is not public"
        )


def _check_url(name: str, tool: HttpTool) -> None:
    try:
        parts = urlsplit(tool.url)
        known = parts.scheme in DEFAULT_PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise HttpToolError(f"HTTP tool {name!r}: its url must be http://host/… or https://host/…")
    if not parts.netloc.isascii():
        raise HttpToolError(f"HTTP tool {name!r}: write its host in ASCII (xn--…)")
    if parts.username is not None or parts.password is not None:
        raise HttpToolError(f"HTTP tool {name!r}: its url holds a user; put secrets in headers")
    if "{" in parts.netloc + parts.query or parts.fragment:
        raise HttpToolError(f"HTTP tool {name!r}: only the path of its url may hold {{arguments}}")
    if "{" in _PLACEHOLDER.sub("", parts.path) or "}" in _PLACEHOLDER.sub("", parts.path):
        raise HttpToolError(f"HTTP tool {name!r}: a brace in its url's path names no argument")


def _check_headers(name: str, headers: Mapping[str, SecretStr]) -> None:
    for header, value in headers.items():
        if not _HEADER_NAME.fullmatch(header):
            raise HttpToolError(f"HTTP tool {name!r}: {header!r} is no name of a header")
        if header.lower() in _OURS:
            raise HttpToolError(f"HTTP tool {name!r}: the header {header} is set by the service")
        plain = value.get_secret_value()
        if not plain.isascii() or not plain.isprintable() or plain != plain.strip():
            raise HttpToolError(
                f"HTTP tool {name!r}: the value of its header {header} must be printable ASCII "
                "with no space around it"
            )
