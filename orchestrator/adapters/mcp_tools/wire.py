"""Bounds of what is read from a server, and the error codes that our own transports answer with.

A transport answers a call that it could not carry with a JSON-RPC error of one of
these codes, which no specification uses; so a fault costs that call and not the session.
"""

from __future__ import annotations

from enum import IntEnum

MAX_MESSAGE_BYTES = 4 * 1024 * 1024


class Fault(IntEnum):
    NOT_SENT = 7001  # the server was not reached
    BROKEN = 7002  # sent, then the connection broke
    SESSION_LOST = 7003  # the server does not know the session any more
    OVERSIZE = 7004  # the answer is larger than MAX_MESSAGE_BYTES
    REFUSED = 7005  # an HTTP status that says no
    BUSY = 7006  # an HTTP status that says later
    SERVER_ERROR = 7007  # an HTTP status that does not say whether it happened
    UNREADABLE = 7008  # an answer in an encoding or of a type that we don't read
