from pathlib import Path

import pytest

from tests.orchestrator.triton.check.sample import (
    EMBED,
    LLM,
    MODEL,
    ROUTER,
    TOPIC,
    Repositories,
)


@pytest.fixture
def repositories(tmp_path: Path) -> Repositories:
    made = Repositories(tmp_path)
    made.write("models/embed/config.pbtxt", EMBED)
    made.write("models/embed/1/model.py", MODEL)
    made.write("models/topic/config.pbtxt", TOPIC)
    made.write("models/topic/1/model.py", MODEL)
    made.write("models/topic/labels.txt", "chat\nwork\n")
    made.write("models/llm/config.pbtxt", LLM)
    made.write("models/llm/1/model.json", '{"model": "weights"}\n')
    made.write("ensembles/router/config.pbtxt", ROUTER)
    made.write("ensembles/router/1/.gitkeep", "")
    made.write("backends/engine/model.py", MODEL)
    return made
