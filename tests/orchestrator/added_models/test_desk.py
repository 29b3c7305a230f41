"""Into the model server and out of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orchestrator.adapters.scripted_control import ScriptedModelControl
from orchestrator.adapters.scripted_models import ScriptedLanguageModel, Turn
from orchestrator.added_models import ModelStore
from orchestrator.added_models.serving import ModelDesk
from orchestrator.domain.errors import FleetError, NotFound, Unavailable
from orchestrator.ports.model_control import LoadState
from tests.orchestrator.added_models.given import entry, until

OWN = entry("own")


def desk(root: Path, control: ScriptedModelControl, *turns: Turn) -> ModelDesk:
    store = ModelStore(root / "models")
    store.prepare()
    return ModelDesk(store, control, ScriptedLanguageModel(turns), lambda _: None)


def place(store: ModelStore) -> None:
    with store.staged("own") as folder:
        store.place(folder)


async def test_a_model_is_in_the_catalogue_once_it_has_answered(tmp_path: Path) -> None:
    control = ScriptedModelControl()
    at = desk(tmp_path, control, ["I am ", "new."], ["42"])
    place(at.store)
    at.store.remember("own", unloaded=True)
    assert await at.bring_up(OWN) == "I am new."
    assert at.store.names() == ["own"]
    assert at.store.held_back() == frozenset()
    assert control.models["own"].state is LoadState.READY


@pytest.mark.parametrize(
    ("control", "turn"),
    [
        (ScriptedModelControl(failing={"own": "no weights"}), ["never"]),
        (ScriptedModelControl(), [Unavailable("it died", reason="MODEL_UNAVAILABLE")]),
    ],
    ids=["does not load", "does not answer"],
)
async def test_a_model_that_fails_leaves_nothing(
    tmp_path: Path, control: ScriptedModelControl, turn: Turn
) -> None:
    at = desk(tmp_path, control, turn)
    place(at.store)
    with pytest.raises(FleetError, match=r"no weights|it died"):
        await at.bring_up(OWN)
    assert list(at.store.repository.iterdir()) == []
    assert control.models["own"].state is LoadState.UNLOADED


async def test_an_interrupted_start_leaves_nothing(tmp_path: Path) -> None:
    control, never = ScriptedModelControl(), asyncio.Event()
    at = desk(tmp_path, control, [never])
    place(at.store)
    adding = asyncio.create_task(at.bring_up(OWN))
    await until(lambda: "own" in control.models)
    adding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await adding
    assert list(at.store.repository.iterdir()) == []
    assert control.models["own"].state is LoadState.UNLOADED


async def test_unloading_is_remembered_and_loading_forgets_it(tmp_path: Path) -> None:
    at = desk(tmp_path, ScriptedModelControl(["llm_small"]))
    await at.unload("llm_small")
    assert at.store.held_back() == {"llm_small"}
    await at.load("llm_small")
    assert at.store.held_back() == frozenset()


async def test_a_model_that_the_server_does_not_have_is_not_unloaded(tmp_path: Path) -> None:
    at = desk(tmp_path, ScriptedModelControl())
    with pytest.raises(NotFound, match="'other'"):
        await at.unload("other")
    assert at.store.held_back() == frozenset()


@pytest.mark.parametrize("away", [False, True])
async def test_a_removed_model_is_gone_also_when_the_server_is_away(
    tmp_path: Path, away: bool
) -> None:
    control = ScriptedModelControl(["own"])
    at = desk(tmp_path, control)
    place(at.store)
    at.store.publish(OWN)
    control.away = away
    await at.remove("own")
    assert at.store.names() == []
    assert list(at.store.repository.iterdir()) == []
    assert away or control.models["own"].state is LoadState.UNLOADED


async def test_a_model_with_new_files_is_loaded_and_asked(tmp_path: Path) -> None:
    at = desk(tmp_path, ScriptedModelControl(["own"]), ["I am ", "new."], ["42"])
    undone: list[str] = []
    assert await at.reload(OWN, lambda: undone.append("files")) == "I am new."
    assert undone == []


async def test_when_the_new_files_fail_the_old_ones_are_back_before_the_next_load(
    tmp_path: Path,
) -> None:
    control = ScriptedModelControl(["own"], failing={"own": "no such argument"})
    at = desk(tmp_path, control)

    def undo() -> None:
        control.failing.clear()

    with pytest.raises(FleetError, match="no such argument"):
        await at.reload(OWN, undo)
    assert control.models["own"].state is LoadState.READY


async def test_an_interrupted_reload_brings_the_old_files_back(tmp_path: Path) -> None:
    control, never = ScriptedModelControl(["own"]), asyncio.Event()
    at = desk(tmp_path, control, [never])
    undone: list[str] = []
    switching = asyncio.create_task(at.reload(OWN, lambda: undone.append("files")))
    await asyncio.sleep(0)
    switching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await switching
    assert undone == ["files"]
