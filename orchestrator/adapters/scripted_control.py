"""A model server that holds nothing but names: for tests, and to try the service with none.

control = ScriptedModelControl(["llm"], failing={"broken": "no weights"})
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestrator.domain.errors import InvalidInput, Unavailable
from orchestrator.ports.model_control import LoadState, ModelControl, ServedVersion


class ScriptedModelControl(ModelControl):
    """Of the models that are there, `failing` ones do not load; `away` answers nothing."""

    def __init__(
        self,
        models: Iterable[str] = (),
        *,
        failing: Mapping[str, str] | None = None,
        away: bool = False,
    ) -> None:
        self.models = {name: ServedVersion(name, "1", LoadState.READY) for name in models}
        self.failing = dict(failing or {})
        self.away = away

    async def served(self) -> list[ServedVersion]:
        self._answer()
        return list(self.models.values())

    async def load(self, model: str) -> None:
        self._answer()
        reason = self.failing.get(model)
        state = LoadState.FAILED if reason else LoadState.READY
        self.models[model] = ServedVersion(model, "1", state, reason or "")
        if reason:
            raise InvalidInput(f"model {model} does not load: {reason}", reason="MODEL_NOT_LOADED")

    async def unload(self, model: str) -> None:
        self._answer()
        self.models[model] = ServedVersion(model, "", LoadState.UNLOADED)

    def _answer(self) -> None:
        if self.away:
            raise Unavailable("the model server does not answer", reason="MODEL_UNAVAILABLE")
