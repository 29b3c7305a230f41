from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.orchestrator.supervisor.running import RunningStack, start_stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """The whole stack, as `fleet up` starts it, on free ports."""
    # Without the cache: the same question is to be answered by the models every time.
    home = tmp_path_factory.mktemp("home")
    running = start_stack(home, FLEET_CACHE__ENABLED="false")
    try:
        yield running
    finally:
        running.stop()
