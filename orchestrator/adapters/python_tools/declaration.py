"""What a function must say to be a tool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from orchestrator.adapters.python_tools.signature import Signature, SignatureError, read_signature
from orchestrator.domain.chat import ToolSchema
from orchestrator.domain.tools import Effect, ToolRetry, ToolSpec

Function = TypeVar("Function", bound=Callable[..., Any])
_MARK = "__fleet_tool__"
_RETRY = ToolRetry()


class ToolFailed(Exception):
    """For a tool to raise: it can't do what it was asked; the message tells the model why."""


class ToolUnavailable(Exception):
    """For a tool to raise: nothing happened, and another try may succeed."""


class ToolLoadError(Exception):
    """A function can't be a tool as it is; the message says why and what would be right."""


@dataclass(frozen=True, slots=True)
class Options:
    """What `@tool` was given. Without a `spec` the schema comes from the signature."""

    name: str = ""
    description: str = ""
    effect: Effect = Effect.AT_MOST_ONCE
    timeout_s: float = 10.0
    concurrency: int = 0
    retry: ToolRetry = ToolRetry()
    needs_approval: bool = False
    spec: ToolSpec | None = None


@dataclass(frozen=True, slots=True)
class Declared:
    """A function with all that is known of it as a tool."""

    spec: ToolSpec
    function: Callable[..., Any]
    signature: Signature


def tool(
    *,
    name: str = "",
    description: str = "",
    effect: Effect = Effect.AT_MOST_ONCE,
    timeout_s: float = 10.0,
    concurrency: int = 0,
    retry: ToolRetry = _RETRY,
    needs_approval: bool = False,
    spec: ToolSpec | None = None,
) -> Callable[[Function], Function]:
    """Declares a function as a tool; it can still be called as before.

    The name and description are the function's and its docstring's, and the schema that of its
    annotated parameters, unless given. With a `spec` all of it comes from there, and the
    function gets the arguments as plain JSON values. A parameter named `idempotency_key`
    is not the model's: it gets the key of the call. A function that does not say its
    effect is never run twice.
    """
    options = Options(
        name, description, effect, timeout_s, concurrency, retry, needs_approval, spec
    )

    def mark(function: Function) -> Function:
        setattr(function, _MARK, options)
        return function

    return mark


def declared(function: Callable[..., Any], *, name: str = "") -> Declared:
    """Reads what a function says of itself; `name` goes before its own.

    Raises:
        ToolLoadError: a parameter has no type, or one that has no JSON form.
    """
    options: Options = getattr(function, _MARK, Options())
    try:
        signature = read_signature(function, typed=options.spec is None)
    except SignatureError as error:
        raise ToolLoadError(str(error)) from None
    if options.spec is not None:
        return Declared(options.spec, function, signature)
    own = getattr(function, "__name__", type(function).__name__)
    schema = ToolSchema(
        name=name or options.name or own,
        description=options.description or _first_paragraph(function),
        parameters=signature.schema(),
    )
    spec = ToolSpec(
        schema,
        effect=options.effect,
        timeout_s=options.timeout_s,
        concurrency=options.concurrency,
        retry=options.retry,
        needs_approval=options.needs_approval,
    )
    return Declared(spec, function, signature)


def _first_paragraph(function: Callable[..., Any]) -> str:
    return " ".join((function.__doc__ or "").strip().split("\n\n")[0].split())
