"""Trains the three router heads on the embedder's vectors and reports on held-out requests.

The data: JSON lines with text, task, complexity and risk, and if you like family (phrasings
that belong together) and split: train, held_out (known phrasings, other words) or new_phrasing
(families that training never saw). Without split, one text in five is held out by its hash.

With our own data the complexity head also learns from questions to the desk's agent, of the chat
models' training data: what llm_small answers rightly is simple, what it does not is moderate.
Three wordings in four are trained on; scripts/eval_router measures with the others.
"""

import argparse
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from backends.classifier.head import Head
from scripts.chat_training.engine import Engine
from scripts.router_training.desk import draw_training_tasks, label
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
from scripts.router_training.training import Rows, fit_head

ROOT = Path(__file__).parents[2]
DATA = Path(__file__).with_name("requests.jsonl")
DESK_TASKS = 12_000
DESK_SHARE = 2 / 3
"""Of what the complexity head is trained on."""


def main() -> int:
    arguments = parse_arguments()
    try:
        requests = load_requests(arguments.data)
        labels = {name: label_order(name, requests) for name in HEADS}
        for name in HEADS:
            check_dimensions(arguments.model_repository, name, labels[name])
        desk = draw_desk(arguments)
        embeddings = embed([one.text for one in (*requests, *desk)], arguments.embedder)
    except (InvalidDataError, OSError) as error:
        print(f"scripts/train_router: {error}", file=sys.stderr)
        return 1
    report = {}
    for name in HEADS:
        head = train(name, labels[name], [*requests, *desk], embeddings)
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
    parser.add_argument(
        "--desk",
        type=int,
        help=f"how many questions to the desk (default: {DESK_TASKS} with our data, else 0)",
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


def draw_desk(arguments: argparse.Namespace) -> list[LabelledRequest]:
    count = arguments.desk
    if count is None:
        count = DESK_TASKS if arguments.data == DATA else 0
    if not count:
        return []
    print(f"llm_small answers half of {count} questions to the desk; this takes a minute or two")
    small = Engine(arguments.model_repository / "llm_small" / "1" / "openvino")
    return label(draw_training_tasks(count), small)


def train(
    name: str,
    labels: list[str],
    requests: list[LabelledRequest],
    embeddings: npt.NDArray[np.float32],
) -> Head:
    rows = [
        row
        for row, request in enumerate(requests)
        if request.split == TRAIN and name in request.labels
    ]
    from_desk = np.array([len(requests[row].labels) < len(HEADS) for row in rows])
    weights = np.ones(len(rows))
    if from_desk.any():
        weights[from_desk] = DESK_SHARE / from_desk.sum()
        weights[~from_desk] = (1 - DESK_SHARE) / (~from_desk).sum()
    return fit_head(
        Rows(
            embeddings[rows],
            np.array([labels.index(requests[row].labels[name]) for row in rows]),
            [requests[row].family for row in rows],
            weights,
        ),
        len(labels),
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
