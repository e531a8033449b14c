"""How the levels of an output learn: temperature, dose and table from the sizes (docs/learning-rule.md, "Output levels")."""

from __future__ import annotations

import math

import numpy as np

from metabit.export.errors import ExportError
from metabit.export.frozen import LevelsRule

_DOSE_LIMIT = 2**20
_WHOLE = 256  # the factor 1 of a step toward zero
_RATE = 0.006
_FLATNESS = 0.5  # of the softmax, against that of training


def levels_temperature(bits: int, units: int) -> int:
    """Temperature of the header, 1..65535, for an output of k bits over `units` gates.

    Raises:
        ExportError: bits out of range.
    """
    return max(1, round(65536 * _FLATNESS * _unit(bits, units)))


def levels_rule(bits: int, units: int, m: float = 2.0, dose: float = 1.0) -> LevelsRule:
    """The rule for an output of k bits over `units` gates.

    Args:
        bits: k, 2..8.
        units: K, 1..1024.
        m: metaplasticity, >= 0: a step toward zero from |h| counts exp(-m·|h|/L), L = 2^(k-1) - 1.
        dose: factor of the step that suits most streams, above 0.

    Raises:
        ExportError: bits, m or dose out of range.
    """
    unit, largest = _unit(bits, units), 2 ** (bits - 1) - 1
    if not 0 <= m < math.inf:
        raise ExportError(f"m={m} of output levels: must be a number >= 0")
    limit = (_DOSE_LIMIT - 0.5) * units * unit / (65536 * _RATE)
    if not 0 < dose < limit:
        raise ExportError(f"dose={dose} of output levels: must be above 0 and below {limit:.3g}")
    step = max(1, round(65536 * dose * _RATE / (units * unit)))
    weaken = np.rint(_WHOLE * np.exp(-m * np.arange(largest + 1) / largest)).astype(np.uint16)
    return LevelsRule(step, weaken)


def _unit(bits: int, units: int) -> float:
    """The score that training gives one level times one eighth of an activation."""
    if not 2 <= bits <= 8:
        raise ExportError(f"output levels of {bits} bits: must be from 2 to 8")
    return float(3 / (8 * (2 ** (bits - 1) - 1) * math.sqrt(units)))
