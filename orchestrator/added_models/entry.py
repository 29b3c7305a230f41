"""The catalogue entry of an added model."""

from __future__ import annotations

from orchestrator.added_models.errors import ModelError
from orchestrator.added_models.facts import shows_tools, tool_format
from orchestrator.added_models.source import Say
from orchestrator.domain.catalogue import Capability, ModelEntry, ToolCallFormat
from orchestrator.tool_calls import FORMATS

_DEFAULT_CONTEXT_TOKENS = 8192
_DEFAULT_NEW_TOKENS = 512


def context_for(name: str, *, trained: int, wanted: int | None, say: Say) -> int:
    """Raises ModelError: more is wanted than the model was trained for."""
    if wanted is not None and wanted > trained:
        raise ModelError(f"--context {wanted}: {name} was made for {trained} tokens at most")
    context = wanted or min(trained, _DEFAULT_CONTEXT_TOKENS)
    if context < trained and wanted is None:
        say(f"context: {context} of the model's {trained} tokens; --context gives it more")
    return context


def make_entry(
    name: str,
    *,
    context: int,
    template: str,
    given_format: str | None,
    like: ModelEntry | None,
    say: Say,
) -> ModelEntry:
    """What the model can do comes from its template; what it costs and is worth, from `like`."""
    found = given_format or tool_format(template)
    capabilities = {Capability.CHAT, Capability.STRUCTURED}  # both engines hold to a schema
    if not shows_tools(template):
        say("its chat template knows no tools: agents with tools will not be given this model")
    elif found not in FORMATS:
        known = ", ".join(sorted(FORMATS))
        how = f"{found} can't be read" if found else "its template does not show how it calls them"
        say(f"no tools: {how}; say it with --tool-format, one of {known}")
    else:
        capabilities.add(Capability.TOOLS)
    if like is None:
        say("no --like: its quality is unknown, so only agents that name it are given it")
    return ModelEntry(
        name=name,
        capabilities=frozenset(capabilities),
        context_tokens=context,
        max_new_tokens=min(context, like.max_new_tokens if like else _DEFAULT_NEW_TOKENS),
        input_price=like.input_price if like else 0,
        output_price=like.output_price if like else 0,
        quality=like.quality if like else {},
        tool_format=ToolCallFormat(found) if found and found in FORMATS else ToolCallFormat.HERMES,
    )
