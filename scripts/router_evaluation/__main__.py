"""Measures the router between two chat models on tasks that nothing was trained on.

Both models answer every task, and each answer is checked automatically. The router's estimate
of how much better the large model would be, by the orchestrator's own decision, orders the
tasks; the curve is the quality against the share of calls to the large model. Printed are
RouteLLM's numbers of it (APGR: random has 0.5; CPT(50%) and CPT(80%): the share of calls at
which so much of the gap between the models is closed), what the default policy does, and what a
cascade would do that goes by how sure the small model was.

Held-out tasks come from seeds that no training draws from; no text of the router's training is
among them, and half have wordings that the router was not trained on.
"""

import argparse
import asyncio
import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.domain.catalogue import Catalogue, ModelEntry
from orchestrator.domain.errors import FleetError
from orchestrator.domain.routing import Classification
from scripts.chat_training.engine import Engine
from scripts.router_evaluation import own_file, report
from scripts.router_evaluation.answers import Scored, scores
from scripts.router_evaluation.curve import Floats, NoGapError
from scripts.router_evaluation.measured import Measured, figures
from scripts.router_evaluation.mixes import MIXES, mix_weights
from scripts.router_evaluation.plot import draw
from scripts.router_evaluation.routed import classify_by_triton, classify_here, route
from scripts.router_evaluation.tasks import draw_tasks
from scripts.router_training.__main__ import DATA, DESK_TASKS
from scripts.router_training.desk import DeskTask, draw_training_tasks
from scripts.router_training.requests import TRAIN, load_requests
from scripts.router_training.wording import wording

ROOT = Path(__file__).parents[2]
DEFAULT_MIX = "demo"


def main(given: Sequence[str] | None = None) -> int:
    arguments = parse_arguments(given)
    try:
        catalogue = read_catalogue(arguments.catalogue, (arguments.small, arguments.large))
        if arguments.file is None:
            return evaluate_held_out(arguments, catalogue)
        return evaluate_own(arguments, catalogue)
    except (own_file.InvalidTaskError, NoGapError, FleetError, OSError) as error:
        print(f"scripts/eval_router: {error}", file=sys.stderr)
        return 1


def parse_arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/eval_router",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"A file of your own. {own_file.__doc__}",
    )
    parser.add_argument("file", type=Path, nargs="?", metavar="FILE", help="tasks of your own")
    parser.add_argument("--json", action="store_true", help="the figures as the last line")
    parser.add_argument("--plot", type=Path, metavar="PATH", help="draw the curve, such as r.png")
    parser.add_argument("--tasks", type=int, default=880, help="held-out tasks (default 880)")
    parser.add_argument("--seed", type=int, default=2026, help="of the held-out tasks")
    parser.add_argument("--small", default="llm_small", help="the catalogue's name of it")
    parser.add_argument("--large", default="llm_large", help="the catalogue's name of it")
    parser.add_argument(
        "--catalogue",
        type=Path,
        default=ROOT / "orchestrator" / "defaults" / "catalogue.toml",
        help="a file with [models.NAME] tables, such as fleet.toml",
    )
    parser.add_argument(
        "--model-repository", type=Path, default=ROOT / "model_repository", help="of both models"
    )
    parser.add_argument(
        "--triton", metavar="ADDRESS", help="ask agent_router of this Triton (gRPC), not its files"
    )
    return parser.parse_args(given)


def read_catalogue(path: Path, needed: Sequence[str]) -> Catalogue:
    """Raises InvalidTaskError; OSError."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("models", {})
        catalogue = {name: ModelEntry(name=name, **table) for name, table in tables.items()}
    except (ValueError, TypeError) as error:
        raise own_file.InvalidTaskError(f"{path}: it has no catalogue: {error}") from None
    for name in needed:
        if name not in catalogue:
            known = ", ".join(catalogue) or "none"
            raise own_file.InvalidTaskError(f"{path}: no model {name!r}; its models are: {known}")
    return catalogue


def evaluate_held_out(arguments: argparse.Namespace, catalogue: Catalogue) -> int:
    trained = [one.text for one in load_requests(DATA) if one.split == TRAIN]
    trained += [task.text for task in draw_training_tasks(DESK_TASKS)]
    drawn = draw_tasks(
        arguments.tasks,
        seed=arguments.seed,
        texts=set(trained),
        wordings={wording(text) for text in trained},
    )
    tasks = [one.task for one in drawn]
    measured = measure(tasks, ask_both(tasks, arguments), arguments, catalogue)
    categories = [task.category for task in tasks]
    print(report.kinds(categories, measured))
    found = {name: figures(measured, mix_weights(categories, mix)) for name, mix in MIXES.items()}
    new = np.array([one.new_wording for one in drawn])
    of_wordings = {}
    for name, chosen in (("new wordings", new), ("known wordings", ~new)):
        kept = [category for category, is_in in zip(categories, chosen, strict=True) if is_in]
        weights = mix_weights(kept, MIXES[DEFAULT_MIX])
        of_wordings[f"{DEFAULT_MIX}, {name}"] = figures(measured.part(chosen), weights)
    return finish(
        arguments, measured, mix_weights(categories, MIXES[DEFAULT_MIX]), found | of_wordings
    )


def evaluate_own(arguments: argparse.Namespace, catalogue: Catalogue) -> int:
    own = own_file.read_tasks(arguments.file)
    tasks = [one.task for one in own]
    ready = [one.ready for one in own if one.ready is not None]
    answered = (
        ([small for small, _ in ready], [large for _, large in ready])
        if ready
        else ask_both(tasks, arguments)
    )
    measured = measure(tasks, answered, arguments, catalogue)
    print(report.kinds([task.category for task in tasks], measured))
    weights = np.array([one.weight for one in own])
    return finish(arguments, measured, weights, {"all": figures(measured, weights)})


def ask_both(
    tasks: Sequence[DeskTask], arguments: argparse.Namespace
) -> tuple[list[Scored], list[Scored]]:
    small, large = (
        scores(tasks, Engine(arguments.model_repository / name / "1" / "openvino"))
        for name in (arguments.small, arguments.large)
    )
    return small, large


def measure(
    tasks: Sequence[DeskTask],
    answered: tuple[list[Scored], list[Scored]],
    arguments: argparse.Namespace,
    catalogue: Catalogue,
) -> Measured:
    names = arguments.small, arguments.large
    texts = [task.text for task in tasks]
    classified: Sequence[Classification] = (
        asyncio.run(classify_by_triton(texts, arguments.triton))
        if arguments.triton
        else classify_here(texts, arguments.model_repository)
    )
    routed = [
        route(text, found, catalogue, *names) for text, found in zip(texts, classified, strict=True)
    ]
    return Measured.of(routed, *answered, (catalogue[names[0]], catalogue[names[1]]))


def finish(
    arguments: argparse.Namespace,
    measured: Measured,
    weights: Floats,
    found: Mapping[str, Mapping[str, Any]],
) -> int:
    """The first of `found` is the one that is meant where nothing else is said."""
    names = arguments.small, arguments.large
    title, first = next(iter(found.items()))
    print(report.mixes(found))
    print(report.policy(first, names))
    print(report.cascade(first))
    if arguments.plot:
        curves = {"router": measured.router(weights), "oracle": measured.oracle(weights)}
        if measured.tells_confidence:
            curves["cascade"] = measured.cascade(weights)
        operating = first["policy"]["share"], first["policy"]["quality"]
        draw(arguments.plot, curves, operating=operating, names=names, title=f"tasks: {title}")
        print(f"drawn: {arguments.plot}")
    if arguments.json:
        print(json.dumps({**first, "mixes": found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
