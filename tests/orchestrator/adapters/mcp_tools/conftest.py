from collections.abc import AsyncIterator, Sequence

import pytest

from orchestrator.adapters.mcp_tools import McpServer, PinnedTool
from orchestrator.adapters.mcp_tools.pinning import current_tools
from tests.orchestrator.adapters.mcp_tools.serving import (
    Running,
    open_http,
    serving,
    stdio_endpoint,
)

KINDS = ("stdio", "stdio --legacy", "http", "http --legacy")


@pytest.fixture(scope="session")
async def known(tmp_path_factory: pytest.TempPathFactory) -> Sequence[PinnedTool]:
    """The tools of the test server, as `fleet tools pin` sees them."""
    folder = tmp_path_factory.mktemp("pinning")
    server = McpServer("test", stdio_endpoint(folder), folder / "pins.json")
    return await current_tools(server, open_http)


@pytest.fixture(scope="module", params=KINDS)
async def running(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    known: Sequence[PinnedTool],
) -> AsyncIterator[Running]:
    """A server of each kind, shared by the tests of a module that do it no harm."""
    async with serving(request.param, tmp_path_factory.mktemp("served"), known) as running:
        yield running
