"""What sections of the settings are made of."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr, model_validator


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SecretError(Exception):
    """A secret can't be read; the message says where it was to be."""


class Secret(Section):
    """A value that is read from the environment or a file, after `prefix`."""

    env: str = ""
    file: Path | None = None
    prefix: SecretStr = SecretStr("")

    @model_validator(mode="after")
    def _one_source(self) -> Secret:
        if bool(self.env) == bool(self.file):
            raise ValueError("must name either env or file")
        return self


def read_secret(secret: Secret, where: str) -> SecretStr:
    """`where` is the setting's name.

    Raises:
        SecretError: it is not there, or empty.
    """
    value = _from_file(secret.file, where) if secret.file else os.environ.get(secret.env, "")
    if not value:
        place = secret.file or f"the environment variable {secret.env}"
        raise SecretError(f"{where}: {place} is empty or not set")
    return SecretStr(secret.prefix.get_secret_value() + value)


def _from_file(file: Path, where: str) -> str:
    try:
        return file.read_text("utf-8").strip()
    except OSError as error:
        raise SecretError(f"{where}: {file} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SecretError(f"{where}: {file} is no text") from None
