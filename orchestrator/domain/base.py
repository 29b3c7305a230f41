"""What every stored value shares."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """An immutable value with a JSON form. Unknown fields are errors; errors show no input."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
