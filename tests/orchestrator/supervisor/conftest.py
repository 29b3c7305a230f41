from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.orchestrator.supervisor.running import RunningStack, start_stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """The whole stack, as `fleet up` starts it, on free ports."""
    running = start_stack(tmp_path_factory.mktemp("home"))
    try:
        yield running
    finally:
        running.stop()
