"""Makes the tools of the settings: built-in ones, Python functions, HTTP and MCP services."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
from pydantic import SecretStr

from orchestrator.adapters.builtin_tools import builtin_tools
from orchestrator.adapters.http_tools import (
    GuardedTransport,
    HttpTool,
    HttpToolError,
    HttpTools,
    PinnedNetwork,
    Place,
)
from orchestrator.adapters.mcp_tools import (
    HttpEndpoint,
    McpObserver,
    McpServer,
    McpTools,
    StdioEndpoint,
    read_pins,
    write_pins,
)
from orchestrator.adapters.python_tools import (
    Declared,
    PythonTools,
    ToolLoadError,
    from_entry_points,
    from_reference,
)
from orchestrator.domain.chat import ToolSchema
from orchestrator.domain.errors import FleetError, InvalidInput
from orchestrator.domain.tools import ToolRetry, ToolSpec
from orchestrator.execution.arguments import ArgumentReader, BadSchema
from orchestrator.execution.breaker import BreakerPolicy
from orchestrator.ports.tools import ToolRegistry, ToolSource
from orchestrator.settings import HttpTool as HttpSection
from orchestrator.settings import McpServer as McpSection
from orchestrator.settings import PythonTool, Retry, Settings, Tools
from orchestrator.settings_sections import Secret, SecretError, read_secret
from orchestrator.toolbox.runner import RunnerSettings


class ToolSetupError(Exception):
    """The tools can't be used as they are set up; the message says which and why."""


@asynccontextmanager
async def open_tools(
    settings: Settings, *, calling: bool, observer: McpObserver | None = None
) -> AsyncIterator[ToolRegistry]:
    """The tools; without `calling` they are only described, no secret is read and no server
    started. `observer` is told of the MCP servers.

    Raises:
        ToolSetupError: one of them is set up wrongly, or two have the same name.
    """
    async with AsyncExitStack() as opened:
        try:
            sources: list[ToolSource] = [_builtin(settings), _python(settings.tools)]
            if settings.tools.http:
                sources.append(await opened.enter_async_context(_http(settings.tools, calling)))
            mcp = McpTools(_mcp_servers(settings, calling), observer=observer)
            tools = ToolRegistry([*sources, mcp])
            ArgumentReader().check(tools.specs())
            if mcp.specs() and calling:
                await opened.enter_async_context(mcp.connected(_mcp_network(settings.tools)))
        except (ToolLoadError, HttpToolError, BadSchema) as error:
            raise ToolSetupError(str(error)) from None
        except FleetError as error:
            raise ToolSetupError(error.message) from None
        yield tools


def runner_settings(settings: Settings) -> RunnerSettings:
    section = settings.tools
    return RunnerSettings(
        max_output_bytes=section.max_output_bytes,
        max_waiting=settings.toolbox.slots // 4,
        breaker=BreakerPolicy(section.breaker_failures, section.breaker_rest_s),
    )


def _builtin(settings: Settings) -> ToolSource:
    file = settings.toolbox.lookup_file
    return builtin_tools(records=None if file is None else _records(file))


def _records(file: Path) -> dict[str, Any]:
    try:
        records = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ToolSetupError(f"toolbox.lookup_file {file} can't be read: {error}") from None
    if not isinstance(records, dict):
        raise ToolSetupError(f"toolbox.lookup_file {file} must hold one JSON object: key -> record")
    return records


def _python(section: Tools) -> PythonTools:
    found = from_entry_points() if section.entry_points else []
    named = [
        _as_set(from_reference(each.function, name=name), each)
        for name, each in section.python.items()
    ]
    return PythonTools([*found, *named], threads=section.threads)


def _as_set(found: Declared, section: PythonTool) -> Declared:
    """What the settings say goes before what the function declares."""
    set_here: dict[str, Any] = section.model_dump(exclude={"function", "retry"}, exclude_none=True)
    if section.retry is not None:
        set_here["retry"] = _retry(section.retry)
    return replace(found, spec=replace(found.spec, **set_here))


def _http(section: Tools, calling: bool) -> HttpTools:
    return HttpTools(
        (_http_tool(name, each, calling) for name, each in section.http.items()),
        network=PinnedNetwork(internal=section.internal),
        hosts=section.hosts,
    )


def _http_tool(name: str, section: HttpSection, calling: bool) -> HttpTool:
    in_query = section.method in ("GET", "DELETE")
    place = Place(section.arguments) if section.arguments else None
    return HttpTool(
        spec=ToolSpec(
            ToolSchema(name, section.description, section.parameters),
            effect=section.effect,
            timeout_s=section.timeout_s,
            concurrency=section.concurrency,
            retry=_retry(section.retry),
            needs_approval=section.needs_approval,
            kind="http",
        ),
        url=section.url,
        method=section.method,
        arguments=place or (Place.QUERY if in_query else Place.BODY),
        headers=_secrets(section.headers, f"tools.http.{name}.headers") if calling else {},
        redirects=section.redirects,
        max_response_bytes=section.max_response_bytes,
    )


async def look_at_mcp_server(settings: Settings, name: str) -> tuple[Path, dict[str, ToolSchema]]:
    """Starts or reaches a server and writes down what its tools are now, pinned or not.

    Returns the file, which keeps what is pinned already, and the tools by their digests.

    Raises:
        ToolSetupError: it may not be reached, or a secret is missing.
        Unavailable: it can't be started or reached.
    """
    from orchestrator.adapters.mcp_tools.pinning import current_tools  # noqa: PLC0415 - the SDK

    server = _mcp_server(settings, name, settings.tools.mcp[name], calling=True)
    tools = await current_tools(server, _mcp_network(settings.tools))
    found = {tool.digest: tool for tool in tools}
    file, pinned = server.schema_file, set(server.pins.values())
    with suppress(InvalidInput):  # what can't be read is written anew
        found = {key: tool for key, tool in read_pins(file).items() if key in pinned} | found
    write_pins(file, found.values())
    return file, {
        tool.digest: ToolSchema(tool.name, tool.description, tool.input_schema) for tool in tools
    }


def _schema_file(settings: Settings, name: str) -> Path:
    return settings.tools.mcp[name].schema_file or settings.home / "mcp" / f"{name}.json"


def _mcp_servers(settings: Settings, calling: bool) -> list[McpServer]:
    return [
        _mcp_server(settings, name, section, calling)
        for name, section in settings.tools.mcp.items()
    ]


def _mcp_server(settings: Settings, name: str, section: McpSection, calling: bool) -> McpServer:
    return McpServer(
        name=name,
        endpoint=_endpoint(settings.tools, name, section, calling),
        schema_file=_schema_file(settings, name),
        pins=section.tools,
        effect=section.effect,
        trust_annotations=section.trust_annotations,
        timeout_s=section.timeout_s,
        concurrency=section.concurrency,
        retry=_retry(section.retry),
        needs_approval=section.needs_approval,
    )


def _endpoint(
    tools: Tools, name: str, section: McpSection, calling: bool
) -> StdioEndpoint | HttpEndpoint:
    where = f"tools.mcp.{name}"
    if section.command:
        env = _secrets(section.env, f"{where}.env") if calling else {}
        plain = {key: value.get_secret_value() for key, value in env.items()}
        return StdioEndpoint(section.command, section.args, plain, section.cwd)
    try:
        parts = urlsplit(section.url)
        host, port = parts.hostname or "", parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (ValueError, KeyError):
        raise ToolSetupError(f"{where}.url must be http://host/… or https://host/…") from None
    if parts.username is not None or parts.password is not None:
        raise ToolSetupError(f"{where}.url holds a user; put secrets in headers")
    if host not in tools.hosts and (host, port) not in tools.internal:
        raise ToolSetupError(
            f"{where}: its host {host!r} is not allowed; name it in tools.hosts, or "
            f"'{host}:{port}' in tools.internal_hosts when its address is not public"
        )
    headers = _secrets(section.headers, f"{where}.headers") if calling else {}
    return HttpEndpoint(
        section.url, {key: value.get_secret_value() for key, value in headers.items()}
    )


def _mcp_network(section: Tools) -> Callable[[HttpEndpoint], httpx2.AsyncBaseTransport]:
    def opened(endpoint: HttpEndpoint) -> httpx2.AsyncBaseTransport:  # noqa: ARG001 - one network
        # A call on a connection that the server is just closing may or may not have happened.
        network = PinnedNetwork(internal=section.internal)
        return GuardedTransport(network, keep_alive=False, max_connections=1_000)

    return opened


def _secrets(section: Mapping[str, SecretStr | Secret], where: str) -> dict[str, SecretStr]:
    return {
        name: value if isinstance(value, SecretStr) else _read(value, f"{where}.{name}")
        for name, value in section.items()
    }


def _read(secret: Secret, where: str) -> SecretStr:
    try:
        return read_secret(secret, where)
    except SecretError as error:
        raise ToolSetupError(str(error)) from None


def _retry(section: Retry) -> ToolRetry:
    return ToolRetry(section.max_attempts, section.base_s, section.cap_s)
