import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Template, TemplateError, TemplateSyntaxError
from tokenizers import Tokenizer

from .control_tokens import ControlTokens, control_tokens
from .conversation import parse_messages, parse_tools
from .errors import ModelFilesError, PromptError
from .template import compile_template, render

_MODEL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_SPECIAL_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token")

# Modification time and size of each file that a ChatModel was read from.
Fingerprint = tuple[tuple[int, int] | None, ...]


@dataclass(frozen=True)
class ChatModel:
    """One language model's chat template and tokenizer."""

    name: str
    template: Template
    tool_template: Template
    special_tokens: dict[str, str]
    tokenizer: Tokenizer
    control: ControlTokens

    def prompt(self, messages_json: str, tools_json: str) -> str:
        """Renders it so that all of the model's control tokens in it are the template's."""
        messages = self.control.broken(parse_messages(messages_json))
        tools = self.control.broken(parse_tools(tools_json))
        prompt = self._render(messages, tools)
        fenced = [self._fenced(message) for message in messages]
        if fenced != messages:
            # Some template may put two texts side by side that make a token together.
            apart = self._render(fenced, tools)
            prompt = prompt if self.control.count(prompt) == self.control.count(apart) else apart
        return prompt

    def _render(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> str:
        template = self.tool_template if tools else self.template
        try:
            return render(template, messages, tools, self.special_tokens)
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise PromptError(
                f"the chat template of {self.name} refused the conversation: {error}"
            ) from None

    def _fenced(self, message: dict[str, Any]) -> dict[str, Any]:
        content = message["content"]
        return message if not content else {**message, "content": self.control.fenced(content)}


def count_tokens(prompts: Sequence[tuple[ChatModel, str]]) -> list[int]:
    """The length of each prompt in its own model's tokens, model by model in one batch."""
    counts = [0] * len(prompts)
    for model in {id(model): model for model, _ in prompts}.values():
        rows = [row for row, (owner, _) in enumerate(prompts) if owner is model]
        # The template has written the special tokens itself.
        encodings = model.tokenizer.encode_batch_fast(
            [prompts[row][1] for row in rows], add_special_tokens=False
        )
        for row, encoding in zip(rows, encodings, strict=True):
            counts[row] = len(encoding)
    return counts


class ChatModels:
    """The chat models of model repositories, read again whenever their files change.

    Of two with the same name the one in the first repository is taken.
    """

    def __init__(self, *repositories: Path) -> None:
        self._repositories = repositories
        self._loaded: dict[str, tuple[Fingerprint, ChatModel]] = {}

    def names(self) -> list[str]:
        found = (path for each in self._repositories for path in each.glob("*/1/model.json"))
        return sorted({path.parts[-3] for path in found})

    def get(self, name: str) -> ChatModel:
        """Raises ModelFilesError."""
        # A name is also a path here: nothing that could leave the repository.
        if not _MODEL_NAME.fullmatch(name) or not self._model_json(name).exists():
            known = ", ".join(self.names()) or "none"
            raise ModelFilesError(f"MODEL {name!r} is not a language model here; known: {known}")
        files = self._files(name)
        fingerprint = tuple(_stamp(path) for path in files)
        loaded = self._loaded.get(name)
        if loaded is None or loaded[0] != fingerprint:
            loaded = self._loaded[name] = (fingerprint, _read(name, files[1].parent))
        return loaded[1]

    def _model_json(self, name: str) -> Path:
        paths = [each / name / "1" / "model.json" for each in self._repositories]
        return next((path for path in paths if path.exists()), paths[0])

    def _files(self, name: str) -> list[Path]:
        model_json = self._model_json(name)
        engine_arguments = _read_json(name, model_json)
        location = engine_arguments.get("model")
        if not isinstance(location, str):
            raise ModelFilesError(f'{name}: 1/model.json has no "model", the path of its weights')
        folder = model_json.parent / location
        names = ("tokenizer_config.json", "tokenizer.json", "chat_template.jinja")
        return [model_json, *(folder / file for file in names)]


def _read(name: str, folder: Path) -> ChatModel:
    if not (folder / "tokenizer.json").exists():
        raise ModelFilesError(
            f"{name}: there is no tokenizer.json in the folder that 1/model.json names"
        )
    config = _read_json(name, folder / "tokenizer_config.json")
    sources = _template_sources(name, folder, config)
    try:
        templates = {kind: compile_template(source) for kind, source in sources.items()}
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except TemplateSyntaxError as error:
        raise ModelFilesError(f"{name}: chat template, line {error.lineno}: {error}") from None
    except Exception as error:  # noqa: BLE001 - tokenizers raises no narrower class
        raise ModelFilesError(f"{name}: tokenizer.json cannot be read: {error}") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return ChatModel(
        name=name,
        template=templates["default"],
        tool_template=templates.get("tool_use", templates["default"]),
        special_tokens=_special_tokens(config),
        tokenizer=tokenizer,
        control=control_tokens(tokenizer, config, sources.values()),
    )


def _template_sources(name: str, folder: Path, config: dict[str, Any]) -> dict[str, str]:
    file = folder / "chat_template.jinja"
    if file.exists():
        return {"default": file.read_text(encoding="utf-8")}
    inline = config.get("chat_template")
    if isinstance(inline, str):
        return {"default": inline}
    if isinstance(inline, list):
        sources = {entry["name"]: entry["template"] for entry in inline}
        if "default" in sources:
            return sources
    raise ModelFilesError(
        f"{name}: no chat_template.jinja and no chat_template in tokenizer_config.json"
    )


def _special_tokens(config: dict[str, Any]) -> dict[str, str]:
    tokens = {}
    for kind in _SPECIAL_TOKENS:
        token = config.get(kind)
        text = token.get("content") if isinstance(token, dict) else token
        if isinstance(text, str):
            tokens[kind] = text
    return tokens


def _read_json(name: str, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFilesError(f"{name}: {path.name} is missing") from None
    except ValueError as error:
        raise ModelFilesError(f"{name}: {path.name} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ModelFilesError(f"{name}: {path.name} must hold a JSON object")
    return value


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size
