"""The errors of this room."""


class UsageError(ValueError):
    """Options or data that do not go together."""
