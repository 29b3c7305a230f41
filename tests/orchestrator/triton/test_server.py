"""Starting and stopping a real tritonserver, and what is said when it cannot start."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from orchestrator.triton import (
    Kind,
    ModelNotLoadedError,
    RuntimeInUseError,
    ServerExitedError,
    ServerNotFoundError,
    TritonConfig,
    TritonEvent,
    TritonServer,
    UnfitEnvironmentError,
)
from orchestrator.triton.leftovers import find_processes
from tests.orchestrator.triton.serving import HERE, REPOSITORIES, serve

LEAVE_BEHIND = """
import asyncio, os, signal, sys
from pathlib import Path
from orchestrator.triton import TritonConfig, TritonServer

async def main():
    runtime, *repositories = map(Path, sys.argv[1:])
    server = TritonServer(TritonConfig(repositories=tuple(repositories), runtime_dir=runtime))
    await server.start()
    print(server.shm_prefix, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def traces(prefix: str) -> list[object]:
    return [*find_processes(prefix), *Path("/dev/shm").glob(f"{prefix}*")]


async def test_stopping_leaves_nothing_but_the_log(tmp_path: Path) -> None:
    async with serve(tmp_path / "run") as serving:
        prefix = serving.server.shm_prefix
        assert traces(prefix)
    assert traces(prefix) == []
    assert {f.name for f in (tmp_path / "run").iterdir()} == {"lock", "triton.log"}
    assert serving.kinds()[-1] is Kind.STOPPED


async def test_progress_counts_the_models(tmp_path: Path) -> None:
    async with serve(tmp_path) as serving:
        said = [e.message for e in serving.events if e.kind is Kind.PROGRESS]
    assert said[0] == "0 of 3 models ready"
    assert said[-1] == "3 of 3 models ready"


@pytest.mark.parametrize("crashes", [2, 3])
async def test_a_crash_before_it_serves_is_tried_again_twice(tmp_path: Path, crashes: int) -> None:
    said: list[Kind] = []

    def crash(event: TritonEvent) -> None:
        said.append(event.kind)
        if event.kind is Kind.PROGRESS and said.count(Kind.SERVER_DIED) < crashes:
            for pid in server.pids():
                os.kill(pid, signal.SIGABRT)

    server = TritonServer(
        TritonConfig(repositories=REPOSITORIES, runtime_dir=tmp_path), on_event=crash
    )
    if crashes > 2:
        with pytest.raises(ServerExitedError, match="killed by signal 6 before it was ready"):
            await server.start()
    else:
        async with server:
            assert (await server.status()).serving
    assert said.count(Kind.SERVER_DIED) == 2


async def test_a_model_that_does_not_load_is_named_with_its_reason(tmp_path: Path) -> None:
    repositories = (*REPOSITORIES, HERE / "broken")
    with pytest.raises(ModelNotLoadedError) as refused:
        async with serve(tmp_path, repositories=repositories):
            pass
    assert str(refused.value) == (
        "model 'faulty' does not load: FileNotFoundError: no weights for faulty (model.py, line 3)"
    )
    assert not (tmp_path / "server.json").exists()


async def test_an_optional_model_that_does_not_load_keeps_nobody_from_serving(
    tmp_path: Path,
) -> None:
    async with serve(tmp_path, optional_repositories=(HERE / "broken",)) as serving:
        assert await serving.answers("double")
        said = [e.message for e in serving.events if e.kind is Kind.MODEL_FAILED]
    assert said == [
        "model 'faulty' does not load: FileNotFoundError: no weights for faulty (model.py, line 3)"
    ]


async def test_what_is_held_back_is_not_loaded_until_somebody_does(tmp_path: Path) -> None:
    held_back = frozenset({"double", "quadruple"})
    async with serve(tmp_path, held_back=lambda: held_back) as serving:
        assert not await serving.answers("double")
        await serving.server.control.load("double", timeout_s=60)
        assert await serving.answers("double")


async def test_a_second_launcher_of_the_same_folder_is_refused(tmp_path: Path) -> None:
    async with serve(tmp_path):
        with pytest.raises(RuntimeInUseError, match=f"process {os.getpid()} already runs"):
            async with serve(tmp_path):
                pass


async def test_a_server_left_by_a_killed_launcher_serves_until_the_next_start_ends_it(
    tmp_path: Path,
) -> None:
    launcher = await asyncio.create_subprocess_exec(
        *[sys.executable, "-c", LEAVE_BEHIND, str(tmp_path), *map(str, REPOSITORIES)],
        stdout=asyncio.subprocess.PIPE,
    )
    prefix = (await launcher.communicate())[0].decode().strip()
    assert launcher.returncode == -signal.SIGKILL
    assert len(find_processes(prefix)) == 3

    async with serve(tmp_path) as serving:
        assert Kind.LEFTOVERS_ENDED in serving.kinds()
        assert traces(prefix) == []


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = TritonConfig(repositories=REPOSITORIES, runtime_dir=tmp_path, http_port=port)
        with pytest.raises(UnfitEnvironmentError, match=f"HTTP port {port} on 127.0.0.1 cannot"):
            await TritonServer(config).start()


async def test_an_option_that_the_server_does_not_know_is_said(tmp_path: Path) -> None:
    config = TritonConfig(
        repositories=REPOSITORIES, runtime_dir=tmp_path, arguments=("--nonsense=1",)
    )
    with pytest.raises(ServerExitedError, match=r"exited with code 1 .*nonsense"):
        await TritonServer(config).start()


async def test_a_server_that_is_no_program_is_refused(tmp_path: Path) -> None:
    config = TritonConfig(repositories=REPOSITORIES, runtime_dir=tmp_path, server=tmp_path / "x")
    with pytest.raises(ServerNotFoundError, match="is not a program"):
        await TritonServer(config).start()


async def test_a_repository_that_is_not_there_is_named(tmp_path: Path) -> None:
    config = TritonConfig(repositories=(tmp_path / "models",), runtime_dir=tmp_path / "run")
    with pytest.raises(UnfitEnvironmentError, match="models is not a folder"):
        await TritonServer(config).start()
