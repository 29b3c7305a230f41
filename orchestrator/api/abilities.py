"""What an agent may be given to call: the service's tools, its caller's, other agents."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from orchestrator.api import limits
from orchestrator.domain.agents import AgentSpec, ClientTool
from orchestrator.domain.delegation import ASK_PERSON, ask_tools, handover_tools
from orchestrator.domain.errors import InvalidInput
from orchestrator.domain.ids import parse_agent

_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_REFERENCES = ("$ref", "$dynamicRef")


def check_abilities(spec: AgentSpec, *, known: Mapping[str, object]) -> None:
    """Checks all but that the other agents exist. `known` are the service's tools.

    Raises:
        InvalidInput: of the field that is wrong.
    """
    limits.names(
        spec.tools, "spec.tools", known={**known, ASK_PERSON.name: ASK_PERSON}, what="tool"
    )
    _check_references(spec.agents, "spec.agents")
    _check_references(spec.handovers, "spec.handovers")
    taken = {
        **dict.fromkeys(spec.tools, "one of its tools"),
        **dict.fromkeys(ask_tools(spec.agents), "how one of its agents is called"),
        **dict.fromkeys(handover_tools(spec.handovers), "how one of its handovers is called"),
    }
    may_be_approved = [name for name in taken if name != ASK_PERSON.name]
    limits.count(spec.client_tools, "spec.client_tools", at_most=limits.NAMES)
    schemas = "".join(tool.parameters_json for tool in spec.client_tools)
    limits.text(schemas, "spec.client_tools", max_bytes=limits.SCHEMAS_BYTES)
    for i, tool in enumerate(spec.client_tools):
        _check_client_tool(tool, f"spec.client_tools[{i}]", taken)
        taken[tool.name] = "another of its client tools"
    _check_approvals(spec, may_be_approved)


def _check_references(references: Sequence[str], field: str) -> None:
    limits.count(references, field, at_most=limits.NAMES)
    for i, reference in enumerate(references):
        name = f"{field}[{i}]"
        limits.text(reference, name, max_bytes=limits.NAME_BYTES, required=True)
        parse_agent(reference, field=name)
        if reference in references[:i]:
            raise InvalidInput(f"{name} {reference!r} is given twice", field=name)


def _check_approvals(spec: AgentSpec, may_be_approved: Sequence[str]) -> None:
    limits.count(spec.approvals, "spec.approvals", at_most=3 * limits.NAMES)
    own = {tool.name for tool in spec.client_tools}
    for i, name in enumerate(spec.approvals):
        field = f"spec.approvals[{i}]"
        if name in own or name == ASK_PERSON.name:
            raise InvalidInput(
                f"{field} {name!r} is answered by the caller anyhow: leave it out", field=field
            )
        known = dict.fromkeys(may_be_approved)
        limits.known_name(name, field, known=known, what="tool")
        if name in spec.approvals[:i]:
            raise InvalidInput(f"{field} {name!r} is given twice", field=field)


def _check_client_tool(tool: ClientTool, field: str, taken: Mapping[str, str]) -> None:
    name = f"{field}.name"
    limits.text(tool.name, name, max_bytes=limits.NAME_BYTES, required=True)
    if not _TOOL_NAME.fullmatch(tool.name):
        raise InvalidInput(
            f"{name} {tool.name!r} is not a tool's name: up to 64 of a-z, A-Z, 0-9, '_', '-'",
            field=name,
        )
    what = taken.get(tool.name)
    if what is not None or tool.name == ASK_PERSON.name:
        raise InvalidInput(
            f"{name} {tool.name!r} is taken: it is {what or 'a tool of the service'}; "
            "choose another name",
            field=name,
            reason="NAME_TAKEN",
        )
    limits.text(tool.description, f"{field}.description", max_bytes=limits.DESCRIPTION_BYTES)
    _check_schema(tool.parameters_json, f"{field}.parameters_json")


def _check_schema(text: str, field: str) -> None:
    limits.text(text, field, max_bytes=limits.SCHEMA_BYTES)
    try:
        schema = json.loads(text)
        if not isinstance(schema, dict):
            raise _wrong(field, f"is a JSON {type(schema).__name__}: it has to be an object")
        if schema.get("type") != "object":
            raise _wrong(field, 'has to have "type": "object", as arguments are named')
        Draft202012Validator.check_schema(schema)
        outside = next((r for r in _references(schema) if not r.startswith("#")), None)
    except SchemaError as error:
        where = "".join(f".{part}" for part in error.absolute_path)
        raise _wrong(
            field, f"is not JSON Schema 2020-12 at schema{where}: {error.message[:200]}"
        ) from error
    except ValueError as error:
        raise _wrong(field, f"is not JSON: {error}") from error
    except OverflowError as error:
        raise _wrong(field, f"has a pattern that can't be read: {error}") from error
    except RecursionError as error:
        raise _wrong(field, "is nested too deep") from error
    if outside is not None:
        raise _wrong(
            field,
            f"refers to {outside[:100]!r}: only what is inside it may be referred to, '#/$defs/…'",
        )


def _references(part: Any) -> Iterator[str]:
    """Every reference in the schema, also where it only looks like one: those stay inside, too."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key in _REFERENCES and isinstance(value, str):
                yield value
            yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)


def _wrong(field: str, why: str) -> InvalidInput:
    return InvalidInput(f"{field} {why}", field=field)
