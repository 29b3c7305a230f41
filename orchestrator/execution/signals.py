"""What a handler tells the loop besides errors of the tree."""

from __future__ import annotations


class NotRepeatable(Exception):
    """The work was cut off in the middle of what must not silently happen again.

    Raised instead of CancelledError. An item that is handed back then keeps its
    attempt, so that whoever claims it next knows.
    """
