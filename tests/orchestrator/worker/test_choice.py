"""Which model a step goes to while models come and go."""

from __future__ import annotations

import pytest

from orchestrator.adapters.scripted_models import ScriptedClassifier
from orchestrator.domain.agents import Agent, AgentSpec, ModelPolicy
from orchestrator.domain.errors import InvalidInput, Unavailable
from orchestrator.domain.runs import Run
from orchestrator.model_calls.router import LiveModels
from orchestrator.worker.choice import ModelChoice
from tests.orchestrator.worker.given import CATALOGUE, TENANT


def run_of(model: str) -> Run:
    return Run(run_id="r", tenant=TENANT, session_id="s", agent="a@1", input="hi", model=model)


def agent_of(*models: str) -> Agent:
    spec = AgentSpec(policy=ModelPolicy(models=models))
    return Agent(name="a", version=1, spec=spec, created_ms=0)


async def test_a_run_stays_with_its_model() -> None:
    choice = ModelChoice(ScriptedClassifier(), CATALOGUE)
    entry, decided = await choice.choose(run_of("large"), agent_of(), (), {})
    assert (entry.name, decided) == ("large", None)


async def test_a_run_whose_model_was_removed_goes_to_another() -> None:
    choice = ModelChoice(ScriptedClassifier(), CATALOGUE)
    entry, decided = await choice.choose(run_of("removed"), agent_of(), (), {})
    assert entry.name == "small"
    assert decided is not None


async def test_a_run_whose_only_model_was_removed_is_told_so() -> None:
    choice = ModelChoice(ScriptedClassifier(), CATALOGUE)
    with pytest.raises(InvalidInput, match="only use removed") as refused:
        await choice.choose(run_of("removed"), agent_of("removed"), (), {})
    assert refused.value.reason == "UNKNOWN_MODEL"


async def test_an_unloaded_model_is_passed_over_until_it_is_loaded() -> None:
    unloaded = {"small": "not loaded"}
    live = LiveModels(away=lambda: unloaded)
    choice = ModelChoice(ScriptedClassifier(), CATALOGUE, live)
    assert (await choice.choose(run_of("small"), agent_of(), (), {}))[0].name == "large"
    with pytest.raises(Unavailable, match="small: not loaded"):
        await choice.choose(run_of("small"), agent_of("small"), (), {})
    unloaded.clear()
    assert (await choice.choose(run_of("small"), agent_of(), (), {}))[0].name == "small"
