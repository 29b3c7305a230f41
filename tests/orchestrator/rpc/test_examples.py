from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.work import Claim, WorkKind
from tests.orchestrator.adapters.state.given import answer, claimed
from tests.orchestrator.rpc.given import Fleet

PAGE = Path(__file__).parents[3] / "docs/api.md"


async def test_the_example_of_the_page_prints_a_runs_events(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    source, run = example.split("asyncio.run(main())")
    assert run.strip() == ""
    names: dict[str, Any] = {}
    exec(source.replace("127.0.0.1:50051", f"127.0.0.1:{fleet.server.port}"), names)
    asking = asyncio.ensure_future(names["main"]())
    async with asyncio.timeout(10):
        claims: tuple[Claim, ...] = ()
        while not claims:
            await fleet.state.runs.wait_for_work(WorkKind.REASON, timeout_s=1)
            claims = await claimed(fleet.state)
        (claim,) = claims
        await fleet.state.runs.commit(claim, answer(claim))
        await asking
    assert capsys.readouterr().out.split() == [
        "0",
        "snapshot",
        "1",
        "state_changed",
        "2",
        "state_changed",
        "3",
        "finished",
    ]
