from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestrator.added_models import LiveCatalogue, ModelStore
from tests.orchestrator.added_models.given import entry, until

FIXED = {"llm_small": entry("llm_small", context_tokens=5)}


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


def publish(store: ModelStore, name: str, **fields: object) -> None:
    store.folder(name).mkdir(parents=True, exist_ok=True)
    store.publish(entry(name, **fields))


@asynccontextmanager
async def followed(catalogue: LiveCatalogue) -> AsyncIterator[None]:
    task = asyncio.create_task(catalogue.follow(every_s=0.01))
    try:
        yield
    finally:
        task.cancel()


def test_without_a_folder_it_is_what_the_settings_say(store: ModelStore) -> None:
    catalogue = LiveCatalogue(FIXED, store)
    assert dict(catalogue) == FIXED
    assert len(catalogue) == 1
    assert catalogue.unloaded() == frozenset()


async def test_it_follows_what_is_added_changed_and_removed(store: ModelStore) -> None:
    catalogue = LiveCatalogue(FIXED, store)
    async with followed(catalogue):
        publish(store, "own", context_tokens=7)
        await until(lambda: "own" in catalogue)
        assert list(catalogue) == ["llm_small", "own"]
        publish(store, "own", context_tokens=8)
        await until(lambda: catalogue["own"].context_tokens == 8)
        store.delete("own")
        await until(lambda: dict(catalogue) == FIXED)


async def test_it_knows_what_was_unloaded(store: ModelStore) -> None:
    store.prepare()
    catalogue = LiveCatalogue(FIXED, store)
    async with followed(catalogue):
        store.remember("llm_small", unloaded=True)
        await until(lambda: catalogue.unloaded() == {"llm_small"})


def test_an_added_model_does_not_take_the_place_of_the_settings_one(store: ModelStore) -> None:
    publish(store, "llm_small", context_tokens=9)
    assert LiveCatalogue(FIXED, store)["llm_small"].context_tokens == 5


async def test_a_broken_entry_leaves_the_others(
    store: ModelStore, caplog: pytest.LogCaptureFixture
) -> None:
    publish(store, "own")
    publish(store, "torn")
    (store.folder("torn") / "catalogue.json").write_text("{")
    assert list(LiveCatalogue({}, store)) == ["own"]
    assert "torn/catalogue.json can't be read" in caplog.text
