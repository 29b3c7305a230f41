"""Why an engine's environment can't be made or used."""


class EngineError(Exception):
    """Its message is for a person: what is wrong and what would be right."""
