"""Trains the three router heads on the embedder's vectors and reports on held-out requests.

The data: JSON lines with text, task, complexity and risk, and if you like family (phrasings
that belong together) and split: train, held_out (known phrasings, other words) or new_phrasing
(families that training never saw). Without split, one text in five is held out by its hash.
"""

import argparse
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from backends.classifier.head import Head
from scripts.router_training.evaluation import Evaluation, evaluate, render_confusion
from scripts.router_training.model_files import check_dimensions, write_head
from scripts.router_training.requests import (
    HEADS,
    SPLITS,
    TRAIN,
    InvalidDataError,
    LabelledRequest,
    label_order,
    load_requests,
)
from scripts.router_training.training import fit_head

ROOT = Path(__file__).parents[2]
DATA = Path(__file__).with_name("requests.jsonl")


def main() -> int:
    arguments = parse_arguments()
    try:
        requests = load_requests(arguments.data)
        labels = {name: label_order(name, requests) for name in HEADS}
        for name in HEADS:
            check_dimensions(arguments.model_repository, name, labels[name])
        embeddings = embed([request.text for request in requests], arguments.embedder)
    except (InvalidDataError, OSError) as error:
        print(f"scripts/train_router: {error}", file=sys.stderr)
        return 1
    report = {}
    for name in HEADS:
        head = train(name, labels[name], requests, embeddings)
        results = evaluate_splits(name, head, labels[name], requests, embeddings)
        print_results(name, labels[name], head, results)
        write_head(arguments.model_repository, name, head, labels[name])
        report[name] = {split: result.as_json() for split, result in results.items()}
    if arguments.json:
        print(json.dumps(report))
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/train_router",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: scripts/train_router --data our_requests.jsonl",
    )
    parser.add_argument("--data", type=Path, default=DATA, help="labelled file (default: ours)")
    parser.add_argument(
        "--model-repository", type=Path, default=ROOT / "model_repository", help="where heads go"
    )
    parser.add_argument(
        "--embedder", type=Path, default=ROOT / "model_repository" / "embedder" / "1"
    )
    parser.add_argument("--json", action="store_true", help="the figures as JSON on the last line")
    return parser.parse_args()


def embed(texts: list[str], folder: Path) -> npt.NDArray[np.float32]:
    # "1" is Triton's name for a version, and no name that an import statement takes.
    encoder = importlib.import_module("model_repository.embedder.1.encoder")
    # Full precision makes the heads the same on every machine.
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    vectors: npt.NDArray[np.float32] = encoder.TextEncoder(folder, settings).encode(texts)
    return vectors


def train(
    name: str,
    labels: list[str],
    requests: list[LabelledRequest],
    embeddings: npt.NDArray[np.float32],
) -> Head:
    rows = [row for row, request in enumerate(requests) if request.split == TRAIN]
    fitted = fit_head(
        embeddings[rows].astype(np.float64),
        np.array([labels.index(requests[row].labels[name]) for row in rows]),
        len(labels),
        [requests[row].family for row in rows],
    )
    return Head(
        fitted.weights.astype(np.float32), fitted.bias.astype(np.float32), fitted.temperature
    )


def evaluate_splits(
    name: str,
    head: Head,
    labels: list[str],
    requests: list[LabelledRequest],
    embeddings: npt.NDArray[np.float32],
) -> dict[str, Evaluation]:
    results = {}
    for split in SPLITS:
        rows = [row for row, request in enumerate(requests) if request.split == split]
        if rows:
            targets = np.array([labels.index(requests[row].labels[name]) for row in rows])
            results[split] = evaluate(head.probabilities(embeddings[rows]), targets)
    return results


def print_results(name: str, labels: list[str], head: Head, results: dict[str, Evaluation]) -> None:
    print(f"\n{name} ({len(labels)} labels, temperature {head.temperature:.2f})")
    print(f"  {'split':<14}{'requests':>9}{'accuracy':>10}{'calibration error':>19}")
    for split, result in results.items():
        print(
            f"  {split:<14}{result.rows:>9}{result.accuracy:>10.1%}"
            f"{result.calibration_error:>19.3f}"
        )
    for split, result in results.items():
        if split != TRAIN:
            print(f"\n  {split}: true label in the row, predicted in the column")
            print(render_confusion(labels, result.confusion))


if __name__ == "__main__":
    sys.exit(main())
