"""Errors of the LLM backends.

LlmError
├── InvalidRequest     the caller's input cannot be served as it stands
├── RequestCancelled   the caller went away
└── Unavailable        the engine is down, full or going away; another try may succeed
    └── EngineFailed   the engine could not start, or died
"""


class LlmError(Exception):
    """Root; `str(error)` is a sentence for the caller and never quotes a prompt."""


class InvalidRequest(LlmError):
    pass


class RequestCancelled(LlmError):
    pass


class Unavailable(LlmError):
    pass


class EngineFailed(Unavailable):
    pass


class SettingsError(LlmError):
    """`1/model.json` is wrong; stops the model's load."""
