from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.added_models import ModelError, ModelStore
from tests.orchestrator.added_models.given import entry


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    made = ModelStore(tmp_path / "models")
    made.prepare()
    return made


def add(store: ModelStore, name: str) -> None:
    with store.staged(name) as folder:
        (folder / "config.pbtxt").write_text("")
        store.place(folder)
    store.publish(entry(name, context_tokens=77))


def test_a_model_is_there_when_its_entry_is(store: ModelStore) -> None:
    with store.staged("own") as folder:
        store.place(folder)
    assert store.names() == []
    assert store.held_back() == {"own"}
    store.publish(entry("own", context_tokens=77))
    assert store.names() == ["own"]
    assert store.entry("own").context_tokens == 77
    assert store.held_back() == frozenset()


def test_an_unfinished_folder_is_gone_at_the_end(store: ModelStore) -> None:
    with store.staged("own") as folder:
        (folder / "weights").write_bytes(b"w")
    assert not folder.exists()
    assert not (store.repository / "own").exists()


def test_what_a_killed_command_left_gives_way(store: ModelStore) -> None:
    left = store.root / "staging" / "killed" / "other"
    left.mkdir(parents=True)
    (store.repository / "own").mkdir()
    (store.repository / "own" / "half").write_bytes(b"w")
    add(store, "own")
    there = sorted(path.name for path in (store.repository / "own").iterdir())
    assert there == ["catalogue.json", "config.pbtxt"]
    assert not left.exists()


def test_a_model_that_is_there_is_not_replaced(store: ModelStore) -> None:
    add(store, "own")
    with store.staged("own") as folder, pytest.raises(ModelError, match="'own' already"):
        store.place(folder)
    assert store.names() == ["own"]


def test_an_unloaded_model_stays_unloaded_until_it_is_loaded_or_deleted(store: ModelStore) -> None:
    add(store, "own")
    store.remember("own", unloaded=True)
    store.remember("llm_small", unloaded=True)
    assert ModelStore(store.root).held_back() == {"own", "llm_small"}
    store.remember("llm_small", unloaded=False)
    assert store.held_back() == {"own"}
    store.delete("own")
    assert store.held_back() == frozenset()
    assert store.names() == []


def test_a_broken_list_of_unloaded_models_keeps_nobody_from_starting(store: ModelStore) -> None:
    (store.root / "unloaded.json").write_text("{")
    assert store.held_back() == frozenset()


def test_one_command_at_a_time_changes_the_models(store: ModelStore) -> None:
    other = ModelStore(store.root)
    with store.exclusive(), pytest.raises(ModelError, match="another command"), other.exclusive():
        pass
    with other.exclusive():
        pass


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", "-rf", "a b", "é", "x" * 64])
def test_a_name_that_could_lead_elsewhere_is_refused(store: ModelStore, name: str) -> None:
    with pytest.raises(ModelError, match="can't be a model's name"):
        store.folder(name)


def test_a_wrong_entry_is_named_with_its_field(store: ModelStore) -> None:
    add(store, "own")
    (store.repository / "own" / "catalogue.json").write_text('{"context_tokens": -1}')
    with pytest.raises(ModelError, match=r"own/catalogue.json: context_tokens: .*greater"):
        store.entry("own")


def test_an_unknown_model_is_answered_with_the_known_ones(store: ModelStore) -> None:
    add(store, "own")
    with pytest.raises(ModelError, match=r"no added model 'other': there are own"):
        store.entry("other")
