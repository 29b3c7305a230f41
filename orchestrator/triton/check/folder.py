"""The model folders of the repositories, read."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from orchestrator.triton.check.positions import Node, locate
from orchestrator.triton.check.problem import Problem

POSITION = re.compile(r"^(?P<line>\d+):(?P<column>\d+) ?: ?(?:'[^\n]*': )?(?P<why>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Model:
    """`place` tells where in its config.pbtxt each field stands."""

    folder: Path
    config: pb.ModelConfig
    place: Node

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def path(self) -> Path:
        return self.folder / "config.pbtxt"

    @property
    def is_ensemble(self) -> bool:
        return self.config.platform == "ensemble" or self.config.HasField("ensemble_scheduling")

    @property
    def versions(self) -> list[Path]:
        """As Triton takes them: whole numbers without leading zeros."""
        found = [p for p in self.folder.iterdir() if p.is_dir() and p.name.isdigit()]
        return sorted(p for p in found if not p.name.startswith("0"))

    def problem(self, message: str, *path: str | int, warning: bool = False) -> Problem:
        return Problem(self.path, self.place.line_of(*path), message, warning)

    def problem_at(self, line: int, message: str) -> Problem:
        return Problem(self.path, line, message)


def read_models(repositories: Sequence[Path]) -> tuple[list[Model], list[Problem]]:
    models: list[Model] = []
    problems: list[Problem] = []
    for repository in repositories:
        if not repository.is_dir():
            problems.append(Problem(repository, 1, "is not a folder: give a model repository"))
            continue
        for folder in _folders(repository):
            read = _read(folder)
            if isinstance(read, Problem):
                problems.append(read)
            else:
                models.append(read)
    return models, problems


def _folders(repository: Path) -> Iterator[Path]:
    for entry in sorted(repository.iterdir()):
        if entry.is_dir() and not entry.name.startswith((".", "__")):
            yield entry


def _read(folder: Path) -> Model | Problem:
    path = folder / "config.pbtxt"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Problem(
            path, 1, f"is missing: every folder of a repository is a model, so {folder} needs one"
        )
    except UnicodeDecodeError as error:
        return Problem(
            path, 1, f"is not UTF-8: byte {error.start} is {error.object[error.start]:#x}"
        )
    try:
        config = text_format.Parse(text, pb.ModelConfig())
    except text_format.ParseError as error:
        return _syntax_problem(path, str(error))
    return Model(folder, config, locate(text))


def _syntax_problem(path: Path, error: str) -> Problem:
    found = POSITION.match(error)
    if found is None:
        return Problem(path, 1, f"does not parse: {error}")
    why = found["why"].strip().rstrip(".")
    return Problem(path, int(found["line"]), f"does not parse, column {found['column']}: {why}")
