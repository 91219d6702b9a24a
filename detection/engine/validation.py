"""Small checks that configuration is made of; each refuses nonsense with one clear line."""

from itertools import pairwise


def require(condition: bool, message: str) -> None:
    """Raise ValueError with the message unless the condition holds."""
    if not condition:
        raise ValueError(message)


def require_positive(owner: object, *fields: str) -> None:
    """Every named field of a settings object is a whole number of at least 1."""
    for field in fields:
        value = getattr(owner, field)
        whole = isinstance(value, int) and not isinstance(value, bool)
        require(
            whole and value >= 1, f"{field} must be a whole number of at least 1, not {value!r}"
        )


def require_rising(owner: object, *fields: str) -> None:
    """The named fields of a settings object are positive and strictly rising."""
    require_positive(owner, *fields)
    values = [getattr(owner, field) for field in fields]
    rising = all(low < high for low, high in pairwise(values))
    require(rising, f"{', '.join(fields)} must rise, not {', '.join(map(str, values))}")
