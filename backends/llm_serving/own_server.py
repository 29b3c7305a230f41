"""Asks the Triton that runs this stub whether it still serves a model, over its HTTP port.

Not with `pb_utils.is_model_ready`: while the server stops it raises, and in 2.51 that error frees
a piece of shared memory twice and aborts the server.
"""

import http.client
import os
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

DEFAULT_PORT = 8000
ANY_ADDRESS = "0.0.0.0"  # noqa: S104
LOOPBACK = "127.0.0.1"
TIMEOUT_S = 5.0


class Endpoint(NamedTuple):
    host: str
    port: int


def own_endpoint() -> Endpoint | None:
    command = (Path("/proc") / str(os.getppid()) / "cmdline").read_bytes()
    return endpoint_of([os.fsdecode(word) for word in command.split(b"\0")])


def endpoint_of(command: Sequence[str]) -> Endpoint | None:
    """Of a tritonserver's command line; None: it serves no HTTP."""
    if _option(command, "--allow-http", "true").lower() in {"false", "0", "off"}:
        return None
    host = _option(command, "--http-address", LOOPBACK)
    port = int(_option(command, "--http-port", str(DEFAULT_PORT)))
    return Endpoint(LOOPBACK if host == ANY_ADDRESS else host, port)


def readiness(endpoint: Endpoint, model: str, version: str) -> Callable[[], bool]:
    """A question that raises OSError, HTTPException where the server does not say."""

    def is_ready() -> bool:
        connection = http.client.HTTPConnection(*endpoint, timeout=TIMEOUT_S)
        try:
            connection.request("GET", f"/v2/models/{quote(model)}/versions/{version}/ready")
            status = connection.getresponse().status
        finally:
            connection.close()
        if status not in {HTTPStatus.OK, HTTPStatus.BAD_REQUEST}:
            raise http.client.HTTPException(f"status {status}")
        return status == HTTPStatus.OK

    return is_ready


def _option(command: Sequence[str], name: str, default: str) -> str:
    """`--name value` or `--name=value`; the last one counts."""
    found = default
    for word, following in zip(command, [*command[1:], ""], strict=True):
        if word == name:
            found = following
        elif word.startswith(f"{name}="):
            found = word.removeprefix(f"{name}=")
    return found
