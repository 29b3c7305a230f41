from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from orchestrator.adapters.triton import TritonConnection, TritonModelControl, TritonVersions
from orchestrator.domain.catalogue import ModelEntry
from orchestrator.domain.errors import Unavailable
from tests.conftest import RunningTriton

ECHO = ModelEntry(name="echo", model="echo_llm")
LLM = ModelEntry(name="llm_small")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def copied(folder: Path) -> Path:
    """A repository's folder of the model, as far as its files go."""
    (folder / "echo_llm" / "1").mkdir(parents=True)
    (folder / "echo_llm" / "config.pbtxt").write_text('name: "echo_llm"\n')
    (folder / "echo_llm" / "1" / "weights.bin").write_bytes(b"one")
    return folder


async def test_other_files_of_a_model_are_another_version(
    connection: TritonConnection, tmp_path: Path
) -> None:
    folder, clock = copied(tmp_path), Clock()
    async with TritonVersions([connection], folders=[folder], clock=clock) as versions:
        before = await versions.version(ECHO)
        clock.now += 10
        assert await versions.version(ECHO) == before
        (folder / "echo_llm" / "1" / "weights.bin").write_bytes(b"other")
        clock.now += 10
        assert await versions.version(ECHO) != before


async def test_where_the_files_are_elsewhere_the_version_is_all_there_is(
    connection: TritonConnection,
) -> None:
    async with TritonVersions([connection], metrics_urls=["http://127.0.0.1:1/metrics"]) as found:
        assert await found.version(ECHO) == "1@"


async def test_what_is_known_serves_while_it_is_read_anew(connection: TritonConnection) -> None:
    clock = Clock()
    async with TritonVersions([connection], clock=clock) as versions:
        known = await versions.version(ECHO)
        await connection.unload("echo_llm", timeout_s=10)
        clock.now += 2
        assert await versions.version(ECHO) == known
        try:
            async with asyncio.timeout(20):
                while True:
                    clock.now += 2
                    try:
                        await versions.version(ECHO)
                    except Unavailable:
                        break
                    await asyncio.sleep(0.02)
        finally:
            await connection.load("echo_llm", timeout_s=30)


async def test_a_model_that_is_not_served_has_no_version(connection: TritonConnection) -> None:
    async with TritonVersions([connection]) as versions:
        with pytest.raises(Unavailable, match="which version"):
            await versions.version(ModelEntry(name="nobody"))


async def test_without_a_server_there_is_no_version() -> None:
    async with TritonConnection("127.0.0.1:1") as nowhere, TritonVersions([nowhere]) as versions:
        with pytest.raises(Unavailable):
            await versions.version(ECHO)


async def test_a_replica_that_is_away_does_not_hide_the_others(
    connection: TritonConnection,
) -> None:
    async with (
        TritonConnection("127.0.0.1:1") as nowhere,
        TritonVersions([nowhere, connection]) as versions,
    ):
        assert (await versions.version(ECHO)).startswith("1@")


async def test_a_replica_that_says_nothing_holds_nobody_up_for_long(
    connection: TritonConnection,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        async with (
            TritonConnection(f"127.0.0.1:{mute.getsockname()[1]}") as hung,
            TritonVersions([hung, connection]) as versions,
            asyncio.timeout(10),
        ):
            assert (await versions.version(ECHO)).startswith("1@")


async def test_models_of_other_providers_are_known_by_their_name_alone() -> None:
    async with TritonVersions([]) as versions:
        assert await versions.version(ModelEntry(name="gpt", provider="openai")) == ""


async def test_a_model_that_is_loaded_again_is_another_one(triton: RunningTriton) -> None:
    async with TritonConnection(triton.grpc_url) as connection:

        async def version() -> str:
            async with TritonVersions([connection], metrics_urls=[triton.metrics_url]) as versions:
                return await versions.version(LLM)

        before = await version()
        assert before.startswith("1@1")
        assert await version() == before
        control = TritonModelControl(connection)
        await control.unload(LLM.name)
        await control.load(LLM.name)
        assert await version() != before
