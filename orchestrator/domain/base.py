"""What every stored value shares."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """An immutable value with a JSON form. An unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
