"""Why a model can't be added, loaded or removed."""


class ModelError(Exception):
    """Its message is for a person: what is wrong and what would be right."""
