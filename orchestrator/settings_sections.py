"""What sections of the settings are made of."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr, model_validator


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


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
