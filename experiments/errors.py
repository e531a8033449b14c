"""The errors of this room."""


class UsageError(ValueError):
    """Options, or data and a model, that do not go together."""
