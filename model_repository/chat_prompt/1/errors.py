class PromptError(ValueError):
    """A request that no prompt can be made from; the message is for its caller."""


class ModelFilesError(PromptError):
    """The named model is unknown, or its template or tokenizer cannot be read."""
