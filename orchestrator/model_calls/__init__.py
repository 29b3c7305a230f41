"""What is between a step and the models of its catalogue: each layer is a `LanguageModel`."""
