import locale
import os
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from .errors import PromptError
from .model_prompts import ChatModel, ChatModels, count_tokens

# Triton's stub starts with an ASCII locale whatever the environment says.
locale.setlocale(locale.LC_ALL, "C.UTF-8")

# Folders, as in PATH, of models besides those of the own repository.
REPOSITORIES = "CHAT_PROMPT_REPOSITORIES"
WARM_UP_MESSAGES = '[{"role": "user", "content": "Hello"}]'


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        others = os.environ.get(REPOSITORIES, "").split(os.pathsep)
        own = Path(args["model_repository"]).parent
        self._models = ChatModels(own, *(Path(other) for other in others if other))
        for name in self._models.names():
            try:
                model = self._models.get(name)
                count_tokens([(model, model.prompt(WARM_UP_MESSAGES, "[]"))])
            except PromptError as error:
                pb_utils.Logger.log_warn(f"chat_prompt: {error}")

    def execute(self, requests: list[Any]) -> list[Any]:
        """Render each request's rows, then count the tokens of all of them in one go."""
        prompts: list[tuple[ChatModel, str]] = []
        outcomes: list[slice | PromptError] = []
        for request in requests:
            try:
                rendered = self._render(request)
            except PromptError as error:
                outcomes.append(error)
            else:
                outcomes.append(slice(len(prompts), len(prompts) + len(rendered)))
                prompts.extend(rendered)
        counts = count_tokens(prompts)
        return [
            _refusal(outcome)
            if isinstance(outcome, PromptError)
            else _response(prompts[outcome], counts[outcome])
            for outcome in outcomes
        ]

    def _render(self, request: Any) -> list[tuple[ChatModel, str]]:
        rows = zip(*(_texts(request, name) for name in ("MODEL", "MESSAGES", "TOOLS")), strict=True)
        models = ((self._models.get(name), messages, tools) for name, messages, tools in rows)
        return [(model, model.prompt(messages, tools)) for model, messages, tools in models]


def _texts(request: Any, name: str) -> list[str]:
    rows = pb_utils.get_input_tensor_by_name(request, name).as_numpy().reshape(-1)
    try:
        return [row.decode() for row in rows]
    except UnicodeDecodeError as error:
        raise PromptError(f"{name} is not UTF-8: bad byte at position {error.start}") from None


def _response(prompts: list[tuple[ChatModel, str]], counts: list[int]) -> Any:
    texts = np.array([[text.encode()] for _, text in prompts], np.object_)
    tokens = np.array([[count] for count in counts], np.uint32)
    return pb_utils.InferenceResponse(
        [pb_utils.Tensor("PROMPT", texts), pb_utils.Tensor("NUM_TOKENS", tokens)]
    )


def _refusal(error: PromptError) -> Any:
    fault = pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
    return pb_utils.InferenceResponse([], fault)
