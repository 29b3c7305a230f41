"""Copies of the repositories with some settings changed, the models' files linked."""

import re
from collections.abc import Callable, Collection
from pathlib import Path

Edit = Callable[[str], str]


def copy_repositories(
    sources: Collection[Path], target: Path, models: Collection[str], edit: Edit
) -> tuple[Path, ...]:
    """`models` of every source under `target`, each config.pbtxt passed through `edit`."""
    copies = []
    for source in sources:
        copy = target / source.name
        copy.mkdir(parents=True)
        copies.append(copy)
        for model in sorted(source.iterdir()):
            if model.name in models:
                _copy_model(model, copy / model.name, edit)
    return tuple(copies)


def without_block(config: str, block: str) -> str:
    """Drop a top-level `block { … }` of a config.pbtxt, with whatever is nested in it."""
    match = re.search(rf"^{block}\s*\{{", config, re.MULTILINE)
    if match is None:
        return config
    depth, end = 1, match.end()
    while depth and end < len(config):
        depth += {"{": 1, "}": -1}.get(config[end], 0)
        end += 1
    return config[: match.start()] + config[end:].lstrip("\n")


def _copy_model(model: Path, copy: Path, edit: Edit) -> None:
    copy.mkdir()
    for entry in model.iterdir():
        if entry.name == "config.pbtxt":
            (copy / entry.name).write_text(edit(entry.read_text()))
        else:
            (copy / entry.name).symlink_to(entry.resolve())
