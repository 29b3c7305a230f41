"""A Hugging Face folder to OpenVINO IR, by programs of an environment of their own.

The stack itself has no PyTorch. `optimum-cli` (optimum-intel) converts models and, where only
that is missing, `convert_tokenizer` (openvino-tokenizers with transformers) tokenizers.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from orchestrator.added_models.errors import ModelError
from orchestrator.added_models.source import Form, Say, Source

ENVIRONMENT = "convert"
TOKENIZERS = ("openvino_tokenizer.xml", "openvino_detokenizer.xml")
PRECISIONS = ("fp16", "int8", "int4")


class Converter:
    """Looks for the programs in HOME/convert/bin, then on PATH."""

    def __init__(self, home: Path, say: Say) -> None:
        self._bin = home / ENVIRONMENT / "bin"
        self._say = say

    def convert(self, source: Source, folder: Path, precision: str) -> Source:
        """Writes the IR of a Hugging Face folder, with its tokenizers, into `folder`.

        Raises:
            ModelError: there is no program for it, or it failed.
        """
        program = self._program(
            "optimum-cli",
            f"{source.folder} is a Hugging Face folder, and openvino_genai serves OpenVINO IR",
        )
        self._say(f"converting to OpenVINO IR, {precision}: this takes a while")
        self._run(
            [program, "export", "openvino", "--task", "text-generation-with-past"],
            ["--weight-format", precision, "--model", str(source.folder), str(folder)],
        )
        if not (folder / "openvino_model.xml").is_file():
            raise ModelError(f"{program} wrote no openvino_model.xml")
        return Source(folder, Form.OPENVINO)

    def complete_tokenizers(self, source: Source, folder: Path) -> list[Path]:
        """Makes OpenVINO's form of the tokenizer where it is missing; returns its files."""
        missing = [name for name in TOKENIZERS if not (source.folder / name).is_file()]
        if not missing:
            return []
        program = self._program(
            "convert_tokenizer", f"{source.folder} has no {' and no '.join(missing)}"
        )
        self._say("converting the tokenizer")
        self._run(
            [program, str(source.folder), "--with-detokenizer"],
            ["--skip-special-tokens", "-o", str(folder)],
        )
        made = [folder / name for name in TOKENIZERS]
        if not all(path.is_file() for path in made):
            raise ModelError(f"{program} wrote no {' or no '.join(TOKENIZERS)}")
        return [path for xml in made for path in (xml, xml.with_suffix(".bin")) if path.is_file()]

    def _program(self, name: str, why: str) -> str:
        ours = self._bin / name
        found = str(ours) if os.access(ours, os.X_OK) else shutil.which(name)
        if found:
            return found
        home = self._bin.parent
        raise ModelError(
            f"{why}; converting needs {name}, which is neither in {self._bin} nor on PATH. "
            f"Once: python3 -m venv {home} && {home}/bin/pip install "
            "'optimum-intel[openvino]' openvino-tokenizers; then the same command again. "
            "Or give a folder that is converted already, such as ov:ID"
        )

    def _run(self, program: list[str], arguments: list[str]) -> None:
        """What the program says, its progress too, is seen as it comes, on standard error."""
        variables = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
        try:
            ended = subprocess.run(
                [*program, *arguments], stdout=2, stderr=2, env=variables, check=False
            )
        except OSError as error:
            raise ModelError(f"{program[0]} can't be started: {error.strerror}") from None
        if ended.returncode:
            raise ModelError(
                f"{program[0]} ended with exit code {ended.returncode}; its last lines say why"
            )
