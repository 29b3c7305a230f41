"""What jsonschema does when a schema or a value goes deeper than the stack."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stack_end() -> Iterator[None]:
    """Raises RecursionError, also where the end came inside of its Rust part, which panics."""
    try:
        yield
    except BaseException as panic:
        # The class can't be imported, and it is no Exception.
        if type(panic).__name__ != "PanicException":
            raise
        raise RecursionError from None
