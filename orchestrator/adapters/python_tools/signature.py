"""A function's parameters as a JSON Schema, and arguments as what the function takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema

KEY_PARAMETER = "idempotency_key"


class SignatureError(Exception):
    """The parameters can't be described by a JSON Schema; the message says which and why."""


class ArgumentsDoNotFit(Exception):
    """Right by the schema, but not for the function; the message names the field."""


class _Untitled(GenerateJsonSchema):
    """Titles repeat the names: a model would pay for them with each request."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - a hook
        return False


@dataclass(frozen=True, slots=True)
class Signature:
    """`model` is None for a function that takes the JSON values as they are."""

    model: type[BaseModel] | None
    takes_key: bool

    def schema(self) -> Mapping[str, Any]:
        assert self.model is not None
        schema = self.model.model_json_schema(schema_generator=_Untitled)
        schema.pop("title", None)
        return schema

    def bind(self, arguments: Mapping[str, Any], *, key: str) -> dict[str, Any]:
        """Returns the keyword arguments. Raises ArgumentsDoNotFit."""
        bound = dict(arguments)
        if self.model is not None:
            try:
                values = self.model.model_validate(arguments)
            except ValidationError as error:
                first = error.errors(include_url=False, include_input=False)[0]
                where = ".".join(str(part) for part in first["loc"])
                raise ArgumentsDoNotFit(f"arguments.{where}: {first['msg']}") from None
            bound = {name: getattr(values, name) for name in self.model.model_fields}
        return bound | ({KEY_PARAMETER: key} if self.takes_key else {})


def read_signature(function: Callable[..., Any], *, typed: bool) -> Signature:
    """Raises SignatureError; `typed` False asks for no types."""
    parameters = dict(inspect.signature(function).parameters)
    takes_key = parameters.pop(KEY_PARAMETER, None) is not None
    if not typed:
        return Signature(None, takes_key)
    return Signature(_model(function, parameters), takes_key)


def _model(
    function: Callable[..., Any], parameters: Mapping[str, inspect.Parameter]
) -> type[BaseModel]:
    shown = getattr(function, "__qualname__", type(function).__name__)
    target = function if inspect.isroutine(function) else type(function).__call__
    try:
        hints = get_type_hints(target, include_extras=True)
    except NameError as error:
        raise SignatureError(f"{shown}: the type {error.name!r} is not defined") from None
    fields: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise SignatureError(f"{shown}: {parameter} can't be named in JSON; name each argument")
        if name not in hints:
            raise SignatureError(
                f"{shown}: parameter {name!r} has no type; annotate it, or give @tool a spec"
            )
        fields[name] = (
            hints[name],
            ... if parameter.default is parameter.empty else parameter.default,
        )
    try:
        model: type[BaseModel] = create_model(
            "Arguments", __config__=ConfigDict(extra="forbid"), **fields
        )
        model.model_json_schema()
    except (PydanticUserError, NameError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise SignatureError(f"{shown}: its parameters have no JSON Schema: {reason}") from None
    return model
