"""Checks model repositories without a server: every fault at once, with its file and line."""

from collections.abc import Sequence
from pathlib import Path

from orchestrator.triton.check.batching import check_batching
from orchestrator.triton.check.ensemble import check_ensemble
from orchestrator.triton.check.files import check_files
from orchestrator.triton.check.folder import Model, read_models
from orchestrator.triton.check.problem import Problem
from orchestrator.triton.check.tensors import check_tensors

__all__ = ["Problem", "check_repositories"]


def check_repositories(paths: Sequence[Path], backends_dir: Path | None = None) -> list[Problem]:
    """The faults in the order of their files and lines; none means Triton can load them.

    Args:
        backends_dir: the Python-based backends that are served beside Triton's own.
    """
    models, problems = read_models(paths)
    unread = {problem.path.parent.name for problem in problems}
    by_name: dict[str, Model] = {}
    for model in models:
        earlier = by_name.setdefault(model.name, model)
        if earlier is not model:
            said = f"model {model.name!r} is also in {earlier.folder.parent}: rename one"
            problems.append(model.problem(said))
    for model in models:
        problems += check_files(model, backends_dir)
        problems += check_tensors(model)
        problems += check_batching(model)
        if model.is_ensemble:
            problems += check_ensemble(model, by_name, unread)
    return sorted(problems)
