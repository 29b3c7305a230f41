"""Which service the commands talk to, and how their failures end."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import click
import grpc

from orchestrator.client import CallError, FleetClient
from orchestrator.settings import SettingsError, load_settings
from orchestrator.supervisor.record import read_record

FAILED, USAGE, UNREACHABLE, WAITING, INTERRUPTED = 1, 2, 3, 4, 130

_HOST_AND_PORT = re.compile(r"([\w.-]+|\[[0-9a-fA-F:.%]+\]):\d{1,5}", re.ASCII)

F = TypeVar("F", bound=Callable[..., Any])

_THE_CALLER = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
}


def address_option(command: F) -> F:
    return click.option(
        "--address",
        envvar="FLEET_ADDRESS",
        help="host:port of the orchestrator. Default: the stack that runs in this folder.",
    )(command)


def resolve(address: str | None) -> str:
    """The given address, that of the stack in this folder, or the configured one."""
    if address:
        if not _HOST_AND_PORT.fullmatch(address) or int(address.rpartition(":")[2]) > 65_535:
            raise click.UsageError(
                f"the address {address!r} is not host:port, such as 127.0.0.1:50051"
            )
        return address
    try:
        settings = load_settings()
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    record = read_record(settings.home)
    return record.api if record else settings.api.listen


def call(address: str | None, work: Callable[[FleetClient], Coroutine[Any, Any, int]]) -> None:
    """Runs `work` with a client and exits with what it returns."""
    target = resolve(address)
    api_key = os.environ.get("FLEET_API_KEY", "")
    if not re.fullmatch(r"[\x21-\x7e]*", api_key):
        raise click.UsageError("$FLEET_API_KEY has characters other than visible ASCII")

    async def with_client() -> int:
        async with FleetClient.open(target, api_key) as client:
            return await work(client)

    try:
        code = asyncio.run(with_client())
    except KeyboardInterrupt:
        code = INTERRUPTED
    except CallError as error:
        code = explain(error, target)
    raise SystemExit(code)


def explain(error: CallError, target: str) -> int:
    """Prints what went wrong; returns the exit code."""
    if error.code is grpc.StatusCode.UNAVAILABLE and not error.reason:
        click.echo(f"fleet: nothing answers at {target}; start it with: fleet up", err=True)
        return UNREACHABLE
    reason = f" [{error.reason}]" if error.reason else ""
    click.echo(f"fleet: {error.message}{reason}", err=True)
    if error.code is grpc.StatusCode.UNAVAILABLE:
        return UNREACHABLE
    return USAGE if error.code in _THE_CALLER else FAILED
