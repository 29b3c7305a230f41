import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from scripts.embedder_ir.weights import read_safetensors

ROOT = Path(__file__).parents[2]


def make_embedder(output: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scripts.embedder_ir", "--output", str(output)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_it_builds_the_model_once_and_leaves_it_alone_afterwards(tmp_path: Path) -> None:
    first = make_embedder(tmp_path / "1")
    assert first.returncode == 0, first.stderr
    built = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "1").iterdir()}
    assert built.keys() == {"model.xml", "model.bin", "tokenizer.json"}

    second = make_embedder(tmp_path / "1")

    assert "already built" in second.stdout
    assert built == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "1").iterdir()}


def test_a_model_that_another_graph_was_built_by_is_built_again(tmp_path: Path) -> None:
    assert make_embedder(tmp_path).returncode == 0
    xml = (tmp_path / "model.xml").read_text()
    digest = sha256((ROOT / "scripts" / "embedder_ir" / "graph.py").read_bytes()).hexdigest()
    assert digest in xml
    (tmp_path / "model.xml").write_text(xml.replace(digest, "0" * 64))

    assert "built in" in make_embedder(tmp_path).stdout

    assert digest in (tmp_path / "model.xml").read_text()


def test_a_half_built_model_is_built_again(tmp_path: Path) -> None:
    (tmp_path / "model.xml").write_text("cut sh")
    (tmp_path / "partial").mkdir()

    finished = make_embedder(tmp_path)

    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "model.bin").stat().st_size > 40_000_000
    assert (tmp_path / "model.xml").stat().st_size > 1000


def test_safetensors_are_read_by_their_header(tmp_path: Path) -> None:
    header = b'{"__metadata__": {}, "a": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]}}'
    data = np.array([1.5, -2], np.float32).tobytes()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)

    assert read_safetensors(path)["a"].tolist() == [[1.5], [-2]]


def test_a_dtype_that_numpy_lacks_is_named(tmp_path: Path) -> None:
    header = b'{"a": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}'
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")

    with pytest.raises(ValueError, match="a is BF16, want one of"):
        read_safetensors(path)
