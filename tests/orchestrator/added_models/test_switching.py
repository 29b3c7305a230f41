"""A model's folder before, during and after a change of its engine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from orchestrator.added_models import ModelError
from orchestrator.added_models.engine_files import VllmHost
from orchestrator.added_models.source import Engine
from orchestrator.added_models.switching import (
    Switch,
    begin,
    current_engine,
    find_folder,
    left_behind,
    plan_switch,
)
from orchestrator.triton.check import check_repositories
from tests.orchestrator.added_models.given import ROOT

VLLM, OPENVINO = Engine.VLLM, Engine.OPENVINO_GENAI
CONTEXT = 1536


class Place:
    """llm_small in a repository of its own, and an environment for vLLM."""

    def __init__(self, root: Path) -> None:
        self.repository = root / "model_repository"
        self.folder = self.repository / "llm_small"
        shutil.copytree(ROOT / "model_repository" / "llm_small", self.folder)
        environment = root / ".fleet" / "engines" / "vllm"
        environment.mkdir(parents=True)
        self.host = VllmHost(environment, on_cpu=True)
        self.journals = root / "journals"

    def begin(self, engine: Engine) -> Switch:
        plan = plan_switch(self.folder, engine, self.host, CONTEXT)
        return begin(self.journals, self.folder, plan, ROOT / "backends")

    def switch(self, engine: Engine) -> None:
        self.begin(engine).finish()

    def files(self) -> dict[str, bytes]:
        paths = [path for path in self.folder.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in paths}

    def arguments(self) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.folder / "1" / "model.json").read_text())
        return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_switch_gives_a_valid_model_of_the_other_engine(place: Place) -> None:
    place.switch(VLLM)
    assert current_engine(place.folder) is VLLM
    assert check_repositories([place.repository], ROOT / "backends") == []
    assert place.arguments()["model"] == "hugging_face"
    assert place.arguments()["max_model_len"] == CONTEXT
    assert left_behind(place.journals) == []


def test_there_and_back_leaves_every_file_as_it_was(place: Place) -> None:
    before = place.files()
    place.switch(VLLM)
    assert place.files() != before
    place.switch(OPENVINO)
    assert place.files() == before
    assert not (place.folder / "1" / "engines").exists()


def test_what_a_person_wrote_for_an_engine_comes_back_with_it(place: Place) -> None:
    place.switch(VLLM)
    mine = json.dumps({"model": "hugging_face", "max_model_len": 512, "seed": 7})
    (place.folder / "1" / "model.json").write_text(mine)
    (place.folder / "1" / "serving.json").unlink()
    place.switch(OPENVINO)
    assert place.arguments()["model"] == "openvino"
    place.switch(VLLM)
    assert place.arguments()["seed"] == 7
    assert not (place.folder / "1" / "serving.json").exists()


def test_the_engine_that_runs_it_needs_no_change(place: Place) -> None:
    assert plan_switch(place.folder, OPENVINO, place.host, CONTEXT) == {}


def test_an_undone_switch_leaves_every_file_as_it_was(place: Place) -> None:
    before = place.files()
    place.begin(VLLM).undo()
    assert place.files() == before
    assert left_behind(place.journals) == []


def test_a_switch_that_was_cut_off_is_found_and_undone(place: Place) -> None:
    before = place.files()
    place.begin(VLLM)  # and the command is killed
    [cut_off] = left_behind(place.journals)
    cut_off.undo()
    assert place.files() == before
    assert left_behind(place.journals) == []


def test_what_triton_would_not_load_is_taken_back_at_once(place: Place) -> None:
    kept = place.folder / "1" / "engines" / "vllm" / "model.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{torn")
    before = place.files()
    with pytest.raises(ModelError, match=r"what was written is not valid: .*model.json"):
        place.begin(VLLM)
    assert place.files() == before
    assert left_behind(place.journals) == []


@pytest.mark.parametrize(
    ("engine", "gone", "says"),
    [(VLLM, "hugging_face", "copy its Hugging Face folder"), (OPENVINO, "openvino", "convert it")],
)
def test_without_weights_for_the_engine_nothing_is_touched(
    place: Place, engine: Engine, gone: str, says: str
) -> None:
    if engine is OPENVINO:
        place.switch(VLLM)
    shutil.rmtree(place.folder / "1" / gone)
    before = place.files()
    with pytest.raises(ModelError, match=says):
        place.begin(engine)
    assert place.files() == before


def test_a_model_that_is_no_language_model_has_no_engine_to_switch() -> None:
    repositories = (ROOT / "model_repository", ROOT / "ensembles")
    with pytest.raises(ModelError, match="runs on the backend 'python'"):
        find_folder("embedder", repositories)
    with pytest.raises(ModelError, match="there is no model 'nobody' in"):
        find_folder("nobody", repositories)
