"""Finding the functions: by entry point, or by `module:function`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from orchestrator.adapters.python_tools.declaration import Declared, ToolLoadError, declared

GROUP = "agent_fleet.tools"


def from_entry_points(group: str = GROUP) -> list[Declared]:
    """Returns the tools that installed packages offer. The entry point's name is the tool's.

    Raises:
        ToolLoadError: one of them can't be imported or is no tool.
    """
    return [_from_entry_point(point) for point in entry_points(group=group)]


def _from_entry_point(point: EntryPoint) -> Declared:
    owner = f" of package {point.dist.name}" if point.dist else ""
    return _declared(point.value, point.name, f"entry point {point.name!r}{owner}")


def from_reference(reference: str, *, name: str) -> Declared:
    """Returns the function `module:function` as the tool `name`.

    Raises:
        ToolLoadError: it can't be imported or is no tool.
    """
    return _declared(reference, name, f"tool {name!r}")


def _declared(reference: str, name: str, what: str) -> Declared:
    function = _imported(reference, what)
    try:
        found = declared(function, name=name)
    except ToolLoadError as error:
        raise ToolLoadError(f"{what}: {error}") from None
    if found.spec.schema.name != name:
        schema = replace(found.spec.schema, name=name)
        found = replace(found, spec=replace(found.spec, schema=schema))
    if not found.spec.schema.description:
        raise ToolLoadError(
            f"{what}: {reference} has no docstring; a model chooses a tool by what it says"
        )
    return found


def _imported(reference: str, what: str) -> Callable[..., Any]:
    module_name, colon, path = reference.partition(":")
    if not colon or not module_name or not path:
        raise ToolLoadError(f"{what}: {reference!r} must be written module:function")
    try:
        found: Any = import_module(module_name)
        for part in path.split("."):
            found = getattr(found, part)
    except AttributeError:
        raise ToolLoadError(f"{what}: {module_name} has no {path!r}") from None
    except Exception as error:  # noqa: BLE001 - a module may raise anything when it is imported
        raise ToolLoadError(
            f"{what}: {module_name} can't be imported: {type(error).__name__}: {error}"
        ) from None
    if not callable(found):
        raise ToolLoadError(f"{what}: {reference} is a {type(found).__name__}, not a function")
    function: Callable[..., Any] = found
    return function
