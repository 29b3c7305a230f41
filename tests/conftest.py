"""The real servers that tests share, each started once for the whole run."""

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.triton import ServerNotFoundError, TritonConfig, TritonServer

pytest_plugins = ["tests.fixtures_redis", "tests.fixtures_vllm"]

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class RunningTriton:
    grpc_url: str
    http_url: str
    metrics_url: str
    log: Path


@pytest.fixture(scope="session")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningTriton]:
    """Both repositories, served."""
    repositories = (ROOT / "model_repository", ROOT / "ensembles")
    with running_triton(tmp_path_factory.mktemp("triton"), *repositories) as running:
        yield running


@contextmanager
def running_triton(runtime: Path, *repositories: Path) -> Iterator[RunningTriton]:
    """Watched on a loop of its own, so that any test may use it."""
    config = TritonConfig(
        repositories=repositories, backends_dir=ROOT / "backends", runtime_dir=runtime
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="triton watch")
    thread.start()
    server = TritonServer(config)
    try:
        _call(loop, server.start())
        yield RunningTriton(server.grpc_url, server.http_url, server.metrics_url, config.log)
    except ServerNotFoundError as missing:
        skip_or_fail(str(missing))
    finally:
        _call(loop, server.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def skip_or_fail(reason: str) -> None:
    """A missing server is a failure in CI, where it was promised, and a reason elsewhere."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _call(loop: asyncio.AbstractEventLoop, work: object) -> None:
    assert asyncio.iscoroutine(work)
    asyncio.run_coroutine_threadsafe(work, loop).result()
