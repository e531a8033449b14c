"""Spoken words, synthetic: four words trained on six voices; on the device a new voice, and a fifth word that nobody trained.

    python examples/keyword/keywords.py [FOLDER]

No recording of speech is used: a word is three sounds of two formants or noise, with the pitch, the pace and the throat of a voice.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))
from sensor_series import Recording, Sensor, build, judge, stream

from metabit.data.features import Windows
from metabit.export import GateOptions

RATE, SAMPLES = 8000, 4096
"""Samples a second, and of a word: half a second."""
BANDS = (2, 8, 16, 24, 36, 52, 76, 112, 168, 256)
"""Narrow where vowels differ, wide above."""
SENSOR = Sensor("keyword", ("microphone",), Windows(512, 512, ("deviation", "crossings"), BANDS), windows=8)
FORMANTS = {"a": (750, 1250), "e": (500, 1900), "i": (300, 2300), "o": (480, 850), "u": (320, 750), "m": (250, 1100)}
WORDS = {"alarm": "amo", "stop": "sou", "music": "uis", "light": "ias", "home": "moe"}
"""A name for each word, and its three sounds; s is noise. The last word is the one that nobody trained."""


def spoken(word: str, voice: np.random.Generator, rng: np.random.Generator) -> NDArray[np.int16]:
    """One word, int16 (SAMPLES, 1). voice: drawn from alike for every word of one voice."""
    pitch, throat, breath = voice.uniform(90, 230), voice.uniform(0.85, 1.2), voice.uniform(0.3, 1.0)
    lengths = rng.dirichlet((12, 12, 12)) * rng.uniform(0.75, 0.95) * SAMPLES
    t, sound = np.arange(SAMPLES) / RATE, np.zeros(SAMPLES)
    phase = (
        2
        * np.pi
        * np.cumsum(pitch * rng.uniform(0.93, 1.07) * (1 + 0.05 * np.sin(2 * np.pi * rng.uniform(2, 5) * t)))
        / RATE
    )
    at = rng.uniform(0, 0.1) * SAMPLES
    tuned = {letter: np.array(found) * rng.normal(1, 0.1, 2) for letter, found in FORMANTS.items()}
    for letter, length in zip(word, lengths, strict=True):
        envelope = (
            1 / (1 + np.exp(-(np.arange(SAMPLES) - at) / 60)) / (1 + np.exp((np.arange(SAMPLES) - at - length) / 60))
        )
        if letter == "s":
            sound += envelope * 0.25 * np.diff(rng.normal(size=SAMPLES + 1))
        else:
            for harmonic in range(1, 25):
                hertz = harmonic * pitch
                gain = sum(1 / (1 + ((hertz - f * throat) / 90) ** 2) for f in tuned[letter])
                sound += envelope * gain * np.sin(harmonic * phase) * (hertz < RATE / 2)
        at += length
    sound += breath * rng.normal(size=SAMPLES)
    loud = 6000 * rng.uniform(0.4, 1.4) / np.abs(sound).max()
    return np.clip(np.rint(loud * sound), -32768, 32767).astype(np.int16)[:, None]


def said(voices: list[int], each: int, words: list[str]) -> list[Recording]:
    """Every word by every voice, `each` times; one in four is for the test. In turn, as they would be said."""
    found = []
    for number in range(each):
        for voice in voices:
            for label, word in enumerate(WORDS[name] for name in words):
                rng = np.random.default_rng((voice, number, label))
                found.append(Recording(spoken(word, np.random.default_rng(voice), rng), label, test=number % 4 == 3))
    return found


def main(folder: Path, quick: bool = False) -> None:
    names = list(WORDS)
    old = SENSOR.task("six voices", said(list(range(6)), 4 if quick else 40, names[:-1]), tuple(names[:-1]))
    recordings = said([7], 4 if quick else 40, names)
    new = SENSOR.task("a new voice and word", recordings, tuple(names))
    model = build(folder, SENSOR, old, quick, GateOptions(spare_classes=1))
    right = stream(folder, SENSOR, model, recordings, labelled=0.5)
    print(*judge(type(model).open(folder / "keyword.mbit"), old, new), sep="\n")
    print(f"as the C program hears it: {100 * right:.1f} % right, half of the words labelled; {folder}/stream.bin")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/keyword"))
