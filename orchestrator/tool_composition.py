"""Makes the tools of the settings: the built-in ones, Python functions, HTTP services."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from orchestrator.adapters.builtin_tools import builtin_tools
from orchestrator.adapters.http_tools import (
    HttpTool,
    HttpToolError,
    HttpTools,
    PinnedNetwork,
    Place,
)
from orchestrator.adapters.python_tools import (
    Declared,
    PythonTools,
    ToolLoadError,
    from_entry_points,
    from_reference,
)
from orchestrator.domain.chat import ToolSchema
from orchestrator.domain.errors import FleetError
from orchestrator.domain.tools import ToolRetry, ToolSpec
from orchestrator.execution.breaker import BreakerPolicy
from orchestrator.ports.tools import ToolRegistry, ToolSource
from orchestrator.settings import HttpTool as HttpSection
from orchestrator.settings import PythonTool, Retry, Secret, Settings, Tools
from orchestrator.toolbox.arguments import ArgumentReader, BadSchema
from orchestrator.toolbox.runner import RunnerSettings


class ToolSetupError(Exception):
    """The tools can't be used as they are set up; the message says which and why."""


@asynccontextmanager
async def open_tools(settings: Settings, *, calling: bool) -> AsyncIterator[ToolRegistry]:
    """The tools; without `calling` they are only described, and no secret is read.

    Raises:
        ToolSetupError: one of them is set up wrongly, or two have the same name.
    """
    async with AsyncExitStack() as opened:
        try:
            sources: list[ToolSource] = [_builtin(settings), _python(settings.tools)]
            if settings.tools.http:
                sources.append(await opened.enter_async_context(_http(settings.tools, calling)))
            tools = ToolRegistry(sources)
            ArgumentReader().check(tools.specs())
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
        headers=_headers(section, f"tools.http.{name}.headers") if calling else {},
        redirects=section.redirects,
        max_response_bytes=section.max_response_bytes,
    )


def _headers(section: HttpSection, where: str) -> dict[str, SecretStr]:
    return {
        name: value if isinstance(value, SecretStr) else _read(value, f"{where}.{name}")
        for name, value in section.headers.items()
    }


def _read(secret: Secret, where: str) -> SecretStr:
    value = _from_file(secret.file, where) if secret.file else os.environ.get(secret.env, "")
    if not value:
        place = secret.file or f"the environment variable {secret.env}"
        raise ToolSetupError(f"{where}: {place} is empty or not set")
    return SecretStr(secret.prefix.get_secret_value() + value)


def _from_file(file: Path, where: str) -> str:
    try:
        return file.read_text("utf-8").strip()
    except OSError as error:
        raise ToolSetupError(f"{where}: {file} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ToolSetupError(f"{where}: {file} is no text") from None


def _retry(section: Retry) -> ToolRetry:
    return ToolRetry(section.max_attempts, section.base_s, section.cap_s)
