"""Which weights Triton serves under a name, for keys of answers that are kept."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2

from orchestrator.adapters.triton.connection import TritonConnection
from orchestrator.adapters.triton.errors import unavailable
from orchestrator.adapters.triton.gauges import page
from orchestrator.domain.catalogue import TRITON, ModelEntry
from orchestrator.domain.errors import FleetError
from orchestrator.ports.models import ModelVersions

log = logging.getLogger(__name__)

FRESH_S, STALE_S = 1.0, 5.0
_TIMEOUT_S = 1.0  # a server that takes longer is left out
_LOADED = re.compile(
    rb'^fleet_llm_load_timestamp_seconds\{model="([^"\n]+)",version="([^"\n]+)"\} (\S+)',
    re.MULTILINE,
)


class TritonVersions(ModelVersions):
    """The versions that are ready, each with the moment it was loaded, of all replicas together:
    a model that is loaded again, from whatever files, is another one.

    An engine that does not publish the moment (`fleet_llm_load_timestamp_seconds`) has the names,
    sizes and times of the files in `folders` instead, and the version alone where they are not
    on this machine.

    An async context manager. What it says is up to STALE_S old.
    """

    def __init__(
        self,
        connections: Sequence[TritonConnection],
        *,
        metrics_urls: Sequence[str] = (),
        folders: Sequence[Path] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`folders` are model repositories."""
        self._connections = connections
        self._urls = metrics_urls
        self._folders = folders
        self._clock = clock
        self._known: Mapping[str, str] = {}
        self._read_s = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self._client: httpx2.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        self._client = httpx2.AsyncClient(timeout=_TIMEOUT_S, trust_env=False)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        client, self._client = self._client, None
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if client is not None:
            await client.aclose()

    async def version(self, entry: ModelEntry) -> str:
        if entry.provider != TRITON:
            return ""
        age_s = self._clock() - self._read_s
        if age_s > FRESH_S and (self._reading is None or self._reading.done()):
            self._reading = asyncio.create_task(self._read(), name="versions of models")
        if age_s > STALE_S and self._reading is not None:
            await asyncio.shield(self._reading)
        known = self._known.get(entry.served_as)
        if known is None or self._clock() - self._read_s > STALE_S:
            raise unavailable(entry.name, "Triton does not say which version it serves")
        return known

    async def _read(self) -> None:
        began = self._clock()
        ready, loads = await asyncio.gather(self._ready(), self._loads())
        if ready is None:
            return
        self._known = await asyncio.to_thread(self._told_apart, ready, loads)
        self._read_s = began

    async def _ready(self) -> Mapping[str, set[str]] | None:
        """The versions of each model that some replica serves; None: none answers."""
        indexes = await asyncio.gather(
            *(asyncio.wait_for(each.repository_index(), _TIMEOUT_S) for each in self._connections),
            return_exceptions=True,
        )
        found: defaultdict[str, set[str]] = defaultdict(set)
        for index in indexes:
            if isinstance(index, FleetError | TimeoutError):
                continue
            if isinstance(index, BaseException):
                raise index
            for row in index:
                if row.state == "READY":
                    found[row.model].add(row.version)
        return found if any(isinstance(index, list) for index in indexes) else None

    async def _loads(self) -> Mapping[tuple[str, str], set[str]]:
        """The moments at which replicas loaded a version of a model."""
        found: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        for text in await asyncio.gather(*map(self._metrics, self._urls)):
            for model, version, moment in _LOADED.findall(text):
                found[model.decode("utf-8", "replace"), version.decode()].add(moment.decode())
        return found

    async def _metrics(self, url: str) -> bytes:
        try:
            return await page(self._client, url, within_s=_TIMEOUT_S) if self._client else b""
        except (httpx2.HTTPError, ValueError) as error:
            log.debug("the metrics at %s can't be read: %s", url, error or type(error).__name__)
            return b""

    def _told_apart(
        self, ready: Mapping[str, set[str]], loads: Mapping[tuple[str, str], set[str]]
    ) -> Mapping[str, str]:
        return {
            model: ";".join(
                f"{version}@{','.join(sorted(loads.get((model, version), ()))) or stamp}"
                for version in sorted(versions)
                for stamp in [self._stamp(model, version)]
            )
            for model, versions in ready.items()
        }

    def _stamp(self, model: str, version: str) -> str:
        """Of the files of a version; empty where they are not on this machine."""
        place = next((f / model for f in self._folders if (f / model / version).is_dir()), None)
        if place is None:
            return ""
        files = [place / "config.pbtxt", *sorted((place / version).rglob("*"))]
        with suppress(OSError):  # somebody is writing there
            told = [(file.relative_to(place), file.stat()) for file in files if file.is_file()]
            text = ",".join(f"{name}:{stat.st_size}:{stat.st_mtime_ns}" for name, stat in told)
            return sha256(text.encode()).hexdigest()
        return ""
