"""Labels of any kind -> classes 0..C-1, with the names that the data gives them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.data.errors import DataError
from metabit.data.task import LISTED, MAX_CLASSES, Labels

_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,14}")


def as_labels(name: str, array: NDArray[Any], samples: int) -> tuple[NDArray[Any], list[str]]:
    """An array of labels, checked: int64 (n,) or str (n,), and notes about what was changed.

    Whole numbers of any dtype become int64, bool and bytes become words. A column (n, 1) is raveled. Raises DataError:
    wrong shape or dtype, a fraction, NaN or an empty word.
    """
    notes = []
    if array.ndim == 2 and array.shape[1] == 1:
        notes.append(f"{name} has shape {array.shape} and was raveled to ({len(array)},)")
        array = array.ravel()
    if array.ndim != 1:
        raise DataError(f"{name} has shape {array.shape}: must be (samples,), from one-hot rows take argmax(axis=1)")
    if len(array) != samples:
        raise DataError(f"{name} has {len(array)} labels for {samples} samples: they must be as many")
    if array.dtype.kind in "SUb":
        words = np.char.decode(array, "utf-8", "replace") if array.dtype.kind == "S" else array.astype(str)
        if (words == "").any():
            raise DataError(f"{name}[{int(np.argmax(words == ''))}] is empty: every sample needs a label")
        return _numbers(words), notes
    if array.dtype.kind not in "iuf":
        raise DataError(f"{name} has dtype {array.dtype}: labels must be whole numbers or words")
    bad = ~((np.abs(array) < 2**53) & (array == np.floor(array)))  # written so that NaN is bad
    if bad.any():
        i = int(np.argmax(bad))
        raise DataError(f"{name}[{i}] is {array[i]}: labels must be whole numbers or words")
    return array.astype(np.int64), notes


def _numbers(words: NDArray[np.str_]) -> NDArray[Any]:
    """int64 if every word is a whole number, else the words. "01" and "1" are different words, "1_0" is a word."""
    plain = all(_WHOLE.fullmatch(word) for word in np.unique(words))
    return words.astype(np.int64) if plain else words


def classes(
    name: str,
    parts: Sequence[NDArray[Any]],
    *,
    order: Sequence[str] = (),
    outputs: int | None = None,
    known: Sequence[str] = (),
) -> tuple[list[Labels], tuple[str, ...], list[str]]:
    """Checked labels -> classes.

    Whole numbers 0..C-1 stay as they are. Other whole numbers and words are sorted and numbered from 0.

    Args:
        name: of the data, for messages.
        parts: labels of the training part and, if there is one, of the test part, as `as_labels` returns them.
        order: names of all classes, class 0 first; () derives them from the labels.
        outputs: number of classes of the model that the data is for. Whole numbers below it are then its classes, and
            labels that must be numbered anew must be as many as it has classes.
        known: names of the classes that this model has, class 0 first. Labels are those classes by name, and a label that is
            none of them is a new class behind them, while there are outputs for it.

    Returns:
        the parts as int64; the name of each class, () if it is its number; notes about what was changed.

    Raises:
        DataError: one class only, unless the model does not know it, too many classes, a label that ``order`` does not
            have, labels that do not fit ``outputs`` one to one, or a new class without an output.
    """
    if len({part.dtype.kind for part in parts}) > 1:  # words in one file, whole numbers in the other
        parts = [part.astype(str) for part in parts]
    learnt, found = np.unique(parts[0]), np.unique(np.concatenate(parts))
    if known and not order and (outputs is None or _named(found, known)):
        return _known(name, parts, found, known, outputs)
    if known and not order and outputs is not None and len(known) < outputs:
        raise DataError(
            f"{name} has labels in words, the model's {len(known)} classes are numbers, and {outputs - len(known)} are spare: say "
            f"which label is which class, the new ones last, as in {name},classes=NAME/NAME/..."
        )
    if len(learnt) < 2:
        raise DataError(f"{name} has one class only ({learnt[0]}): at least two are needed to learn and to test")
    if order:
        return _ordered(name, parts, order), tuple(order), []
    words = found.dtype.kind == "U"
    if not words and found[0] >= 0:
        if found[-1] == len(found) - 1 <= MAX_CLASSES - 1:
            return [part.astype(np.int64) for part in parts], (), []
        if outputs is not None and found[-1] < outputs:
            return [part.astype(np.int64) for part in parts], tuple(map(str, range(outputs))), [_absent(found, outputs)]
    if len(found) > MAX_CLASSES:
        raise DataError(f"{name} has {len(found):,} different labels: at most {MAX_CLASSES:,} classes are possible")
    listed = ", ".join(map(str, found[:LISTED])) + (f" and {len(found) - LISTED} more" if len(found) > LISTED else "")
    if outputs is not None and len(found) != outputs:
        raise DataError(
            f"{name} has {len(found)} labels ({listed}) and the model has {outputs} classes: say which label is which "
            f"class with all {outputs} names in order, as in {name},classes=NAME/NAME/..."
        )
    names = tuple(map(str, found))
    what = "labels are words" if words else "labels are not 0, 1, 2 ... without a gap"
    note = f"{what}: {listed} are classes 0 to {len(found) - 1} in this order"
    return [np.searchsorted(found, part).astype(np.int64) for part in parts], names, [note]


def _ordered(name: str, parts: Sequence[NDArray[Any]], order: Sequence[str]) -> list[Labels]:
    if len(set(order)) < len(order):
        raise DataError(f"classes={'/'.join(order)}: a name stands twice, name each class once")
    number = {word: i for i, word in enumerate(order)}
    found = []
    for part in parts:
        for word in np.unique(part).astype(str):
            if word not in number:
                raise DataError(f"{name} has a label {word!r} that classes={'/'.join(order)} does not name: add it")
        found.append(np.array([number[word] for word in part.astype(str)], np.int64))
    return found


def _named(found: NDArray[Any], known: Sequence[str]) -> bool:
    """False where the model's classes are plain numbers and the labels are words: then no name says which is which."""
    numbers = tuple(known) == tuple(map(str, range(len(known))))
    return not (numbers and found.dtype.kind == "U" and not set(found.tolist()) & set(known))


def _known(
    name: str, parts: Sequence[NDArray[Any]], found: NDArray[Any], known: Sequence[str], outputs: int | None
) -> tuple[list[Labels], tuple[str, ...], list[str]]:
    """Labels as the classes of a model by name, new ones behind them."""
    new = [word for word in map(str, found) if word not in set(known)]
    if len(np.unique(parts[0])) < 2 and not new:
        raise DataError(f"{name} has one class only ({parts[0][0]}): at least two are needed to learn and to test")
    if outputs is not None and len(known) + len(new) > outputs:
        listed, spare = ", ".join(new[:LISTED]), outputs - len(known)
        has = (
            "it has no spare class"
            if spare < 1
            else f"it has {spare} spare classes"
            if spare > 1
            else "it has one spare class"
        )
        raise DataError(
            f"{name} has labels that the model does not know ({listed}), and {has}: give it more with metabit "
            f"export --spare-classes, or say which label is which class, as in {name},classes=NAME/NAME/..."
        )
    names = (*known, *new)
    first = len(known)
    notes = [f"{', '.join(new)}: new to the model, class {first}" + (f" to {len(names) - 1}" if len(new) > 1 else "")]
    return _ordered(name, parts, names), names, notes if new else []


def _absent(found: NDArray[Any], outputs: int) -> str:
    absent = sorted(set(range(outputs)) - set(found.tolist()))
    listed = ", ".join(map(str, absent[:LISTED])) + (" ..." if len(absent) > LISTED else "")
    return (
        f"no sample has label {listed}: the labels are taken for the model's classes of the same numbers; if it was "
        "trained on labels that were numbered anew, give classes=NAME/NAME/... with the name of each class in order"
    )
