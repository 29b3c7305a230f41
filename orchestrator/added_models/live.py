"""The catalogue of a running process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from orchestrator.added_models.errors import ModelError
from orchestrator.added_models.store import ModelStore, Stamp
from orchestrator.domain.catalogue import Catalogue, ModelEntry

log = logging.getLogger(__name__)

FOLLOW_S = 0.5


@dataclass(frozen=True, slots=True)
class _View:
    stamps: tuple[Stamp, ...]
    entries: Catalogue
    unloaded: frozenset[str]


class LiveCatalogue(Mapping[str, ModelEntry]):
    """The entries of the settings, which go first, and those of the added models.

    It changes as a whole, and only while the event loop runs `follow`: between two awaits it
    stays the same.
    """

    def __init__(self, fixed: Catalogue, store: ModelStore) -> None:
        self._fixed = fixed
        self._store = store
        self._view = self._read()

    def __getitem__(self, name: str) -> ModelEntry:
        return self._view.entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._view.entries)

    def __len__(self) -> int:
        return len(self._view.entries)

    def unloaded(self) -> frozenset[str]:
        """The models that somebody has unloaded, embedded ones too."""
        return self._view.unloaded

    async def follow(self, *, every_s: float = FOLLOW_S) -> None:
        """Never returns; cancel it."""
        while True:
            await asyncio.sleep(every_s)
            try:
                view = await asyncio.to_thread(self._changed)
            except OSError as error:
                log.warning("the added models can't be read: %s", error)
                continue
            if view is not None:
                self._view = view
                log.info("the catalogue is now: %s", ", ".join(view.entries))

    def _changed(self) -> _View | None:
        return None if self._store.stamps() == self._view.stamps else self._read()

    def _read(self) -> _View:
        stamps = self._store.stamps()  # before the files: a later change is seen the next time
        entries: dict[str, ModelEntry] = {}
        for name in self._store.names():
            try:
                entries[name] = self._store.entry(name)
            except ModelError as error:
                log.warning("%s", error)
        added = {name: entry for name, entry in entries.items() if name not in self._fixed}
        return _View(stamps, {**self._fixed, **added}, self._store.unloaded())
