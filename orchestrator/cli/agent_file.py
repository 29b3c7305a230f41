"""An agent as people write it: JSON or TOML, with the fields of fleet.v1.AgentSpec."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from google.protobuf.descriptor import Descriptor
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError

from orchestrator.rpc.pb.fleet.v1 import agents_pb2

_FIELD = re.compile(r"Failed to parse (\w+) field: ")
_PLACE = re.compile(r" at AgentSpec[\w.\[\]]*")


def read_agent(file: Path) -> tuple[str, agents_pb2.AgentSpec]:
    """Returns the name and the spec that the file holds.

    Raises:
        click.UsageError: it is no JSON or TOML, or no agent.
    """
    fields = _fields(file)
    name = fields.pop("name", None)
    if not isinstance(name, str) or not name:
        raise click.UsageError(f'{file}: an agent needs a name, such as name = "clerk"')
    schema = fields.pop("output_schema", None)
    if schema is not None:
        if fields.keys() & {"output_schema_json", "outputSchemaJson"}:
            raise click.UsageError(f"{file}: say output_schema or output_schema_json, not both")
        fields["output_schema_json"] = _schema_text(schema, file)
    for problem in _problems(fields, agents_pb2.AgentSpec.DESCRIPTOR, ""):
        raise click.UsageError(f"{file}: {problem}")
    try:
        return name, ParseDict(fields, agents_pb2.AgentSpec())
    except ParseError as error:
        raise click.UsageError(f"{file}: {_sentence(str(error))}") from None


def written(agent: agents_pb2.Agent) -> str:
    """JSON that `read_agent` reads, with letters as they are; what moves a cursor is escaped."""
    fields = MessageToDict(agent.spec, preserving_proto_field_name=True)
    said = {name: value for name, value in fields.items() if value}  # no empty sampling, budget
    schema = json.loads(said.get("output_schema_json", "null"))
    if schema is not None and _dumped(schema) == said["output_schema_json"]:
        # Else reading it would write it with other spaces: another content, and a new version.
        said["output_schema"] = schema
        del said["output_schema_json"]
    text = json.dumps({"name": agent.name, **said}, indent=2, ensure_ascii=False)
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def _schema_text(schema: object, file: Path) -> str:
    try:
        return _dumped(schema)
    except TypeError:
        raise click.UsageError(
            f"{file}: output_schema has a date or a time, which JSON can't say: put it in quotes"
        ) from None


def _dumped(schema: object) -> str:
    return json.dumps(schema, ensure_ascii=False)


def _fields(file: Path) -> dict[str, Any]:
    kind = "TOML" if file.suffix == ".toml" else "JSON"
    try:
        text = file.read_text("utf-8")
        fields = tomllib.loads(text) if kind == "TOML" else json.loads(text)
        json.dumps(fields, ensure_ascii=False, default=str).encode()
    except OSError as error:
        raise click.UsageError(f"{file} can't be read: {error.strerror}") from None
    except UnicodeError:
        raise click.UsageError(f"{file} is not UTF-8 text") from None
    except RecursionError:
        raise click.UsageError(f"{file} is not {kind}: it is nested too deeply") from None
    except ValueError as error:
        raise click.UsageError(f"{file} is not {kind}: {error}") from None
    if not isinstance(fields, dict):
        raise click.UsageError(f"{file}: one object is needed, with name, system_prompt, tools, …")
    return fields


def _problems(fields: dict[str, Any], about: Descriptor, path: str) -> Iterator[str]:
    """Names that are no fields, and no values of an enum, with those that are."""
    known = {f.name: f for f in about.fields} | {f.json_name: f for f in about.fields}
    for name, value in fields.items():
        if name not in known:
            names = ", ".join([*([] if path else ["name"]), *(f.name for f in about.fields)])
            yield f"there is no field {path}{name}; the fields are {names}"
            continue
        field = known[name]
        if field.is_repeated and value is not None and not isinstance(value, list):
            yield f"{path}{name} is {value!r}: it has to be a list"
        enum, message = field.enum_type, field.message_type
        if enum is not None and isinstance(value, str) and value not in enum.values_by_name:
            names = ", ".join(each.name for each in enum.values if each.number)
            yield f"{path}{name} is {value!r}: it has to be one of {names}"
        elif message is not None and message.file is about.file:
            for i, each in enumerate(value if isinstance(value, list) else [value]):
                if isinstance(each, dict):
                    at = f"[{i}]" if isinstance(value, list) else ""
                    yield from _problems(each, message, f"{path}{name}{at}.")


def _sentence(problem: str) -> str:
    """What ParseDict says, with the field before it."""
    field = ".".join(_FIELD.findall(problem))
    said = " ".join(_PLACE.sub("", _FIELD.sub("", problem)).split()).rstrip(". ")
    return f"{field}: {said}" if field else said
