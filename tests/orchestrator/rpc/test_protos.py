from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]
GENERATED = ROOT / "orchestrator/rpc/pb"


def contents(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): file.read_text()
        for file in folder.rglob("*.py*")
        if file.suffix in (".py", ".pyi")
    }


def test_the_generated_code_is_that_of_the_protos(tmp_path: Path) -> None:
    made = tmp_path / "pb"
    subprocess.run([ROOT / "scripts/generate_protos", made], check=True)
    assert contents(made) == contents(GENERATED)
