"""What a model's own files say of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.added_models.errors import ModelError

_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx")
_BYTES_PER_NUMBER = 2
TEMPLATE = "chat_template.jinja"

# A word of a template, and the format of tool calls that such templates teach.
_FORMATS = (
    ("[TOOL_CALLS]", "mistral"),
    ("<tool_call>", "hermes"),
    ("<|python_tag|>", "llama3_json"),
    ("Environment: ipython", "llama3_json"),
)
_IN_CODE = re.compile(r"\{[%{].*?[%}]\}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Facts:
    architecture: str
    context_tokens: int
    kv_bytes_per_token: int | None  # at 16 bits; None: the config does not say enough


def read_facts(folder: Path) -> Facts:
    config = _read_json(folder / "config.json")
    names = config.get("architectures")
    text = config.get("text_config")
    inner: Mapping[str, Any] = {**config, **text} if isinstance(text, dict) else config
    context = next((n for key in _CONTEXT_KEYS if (n := _count(inner.get(key)))), 0)
    if not context:
        raise ModelError(
            f"{folder / 'config.json'} does not say how long the context is: it needs "
            "max_position_embeddings"
        )
    architecture = names[0] if isinstance(names, list) and names else config.get("model_type")
    return Facts(str(architecture or "unknown"), context, _kv_bytes_per_token(inner))


def template_text(folder: Path, given: Path | None) -> str:
    """The chat template: the given file's, the model's own, or that of its tokenizer's config.

    Of several, the one for tools.

    Raises:
        ModelError: there is none.
    """
    text = given.read_text("utf-8") if given is not None else _own_template(folder)
    if text is None:
        raise ModelError(
            f"{folder} has no chat template, neither {TEMPLATE} nor chat_template in "
            "tokenizer_config.json: a base model has none, one for chats does; give one with "
            "--chat-template FILE"
        )
    return text


def has_template(folder: Path) -> bool:
    return _own_template(folder) is not None


def _own_template(folder: Path) -> str | None:
    if (folder / TEMPLATE).is_file():
        return (folder / TEMPLATE).read_text("utf-8")
    inline = _read_json(folder / "tokenizer_config.json").get("chat_template")
    if isinstance(inline, list):
        named = {entry.get("name"): entry.get("template") for entry in inline}
        inline = named.get("tool_use") or named.get("default")
    return inline if isinstance(inline, str) else None


def shows_tools(template: str) -> bool:
    """Whether the template writes the tools that it is given into the prompt."""
    return any(re.search(r"\btools\b", code) for code in _IN_CODE.findall(template))


def tool_format(template: str) -> str | None:
    """The format in which the template has the model write calls, as far as one can see."""
    return next((name for mark, name in _FORMATS if mark in template), None)


def _kv_bytes_per_token(config: Mapping[str, Any]) -> int | None:
    names = ("num_hidden_layers", "num_attention_heads", "hidden_size")
    layers, heads, width = (_count(config.get(name)) for name in names)
    if not (layers and heads and width):
        return None
    kv_heads = _count(config.get("num_key_value_heads")) or heads
    head = _count(config.get("head_dim")) or width // heads
    return 2 * layers * kv_heads * head * _BYTES_PER_NUMBER


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} can't be read: {error}") from None
    if not isinstance(value, dict):
        raise ModelError(f"{path} must hold a JSON object")
    return value
