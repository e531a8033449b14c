"""Makes the files of Larq, its converter and TensorFlow in this folder. Run by hand, never in CI: it needs other packages.

    python3.11 -m venv tf && tf/bin/pip install tensorflow-cpu==2.15.1 larq==0.13.3 larq-compute-engine==0.16.0 numpy==1.26.4
    tf/bin/python tests/export/foreign/make_larq.py digits.csv.gz [dense|conv|pooled|chain ...]        (of scikit-learn)

Each network learns the 8 x 8 digits for a few passes. "dense" and "chain" take pixel / 8 - 1 of pixels 0..16, the others
byte / 127.5 - 1 of a picture of bytes. NAME.h5 is the whole model, NAME_weights.h5 what `save_weights` writes, NAME.tflite what
larq-compute-engine's converter writes, larq.npz the samples (pixels 0..16) with the probabilities that every network gives them,
by Keras and by larq-compute-engine's interpreter. tensorflow.tflite is an ordinary float network.
"""

import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import larq as lq
import larq_compute_engine as lce
import numpy as np
import tensorflow as tf

HERE = Path(__file__).parent
SAMPLES = 256


def digits(archive: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels 0..16, uint8 (n, 64), and labels, from the archive of the digits."""
    rows = np.loadtxt(archive, delimiter=",", dtype=np.int64)
    return rows[:, :64].astype(np.uint8), rows[:, 64]


def pictures(x: np.ndarray, side: int, channels: int) -> np.ndarray:
    """Digits (n, 64) -> bytes uint8 (n, side, side, channels), three times as large: as they are, transposed, inverted."""
    image, edge = (x.astype(np.int64) * 255 // 16).reshape(-1, 8, 8).repeat(3, 1).repeat(3, 2), (side - 24) // 2
    out = np.zeros((len(x), side, side, 3), np.uint8)
    inside = slice(edge, edge + 24)
    out[:, inside, inside] = np.stack([image, image.transpose(0, 2, 1), 255 - image], -1)
    return out[..., :channels]


def norm(rng: np.random.Generator, units: int) -> tf.keras.layers.Layer:
    """Normalisation whose gains are negative for a third of the units."""
    gains = np.where(rng.random(units) < 1 / 3, -1.0, 1.0) * rng.uniform(0.5, 1.5, units)
    return tf.keras.layers.BatchNormalization(momentum=0.9, gamma_initializer=tf.constant_initializer(gains))


SIGN = {
    "input_quantizer": "ste_sign",
    "kernel_quantizer": "ste_sign",
    "kernel_constraint": "weight_clip",
    "use_bias": False,
}
FIRST = {"kernel_quantizer": "ste_sign", "kernel_constraint": "weight_clip", "use_bias": False}


def dense(rng: np.random.Generator) -> list[tf.keras.layers.Layer]:
    return [
        tf.keras.layers.Input((64,)),
        lq.layers.QuantDense(33, **FIRST), norm(rng, 33),
        lq.layers.QuantDense(21, **SIGN), norm(rng, 21),
        lq.layers.QuantDense(10, **SIGN), tf.keras.layers.BatchNormalization(momentum=0.9, scale=False),
        tf.keras.layers.Activation("softmax"),
    ]  # fmt: skip


def conv(rng: np.random.Generator) -> list[tf.keras.layers.Layer]:
    """Strides and padding on one side only; a pool that drops a row; 5, 33 and 15 channels."""
    return [
        tf.keras.layers.Input((28, 28, 3)),
        lq.layers.QuantConv2D(5, 3, padding="same", pad_values=1.0, strides=2, **FIRST), norm(rng, 5),
        lq.layers.QuantConv2D(33, 3, padding="same", pad_values=1.0, strides=2, **SIGN), norm(rng, 33),
        lq.quantizers.SteSign(), tf.keras.layers.MaxPool2D(2),
        lq.layers.QuantConv2D(15, 2, **SIGN), norm(rng, 15), tf.keras.layers.Flatten(),
        lq.layers.QuantDense(10, **SIGN), tf.keras.layers.BatchNormalization(momentum=0.9, scale=False),
        tf.keras.layers.Activation("softmax"),
    ]  # fmt: skip


def pooled(rng: np.random.Generator) -> list[tf.keras.layers.Layer]:
    """Pools before the normalisation, biases, and signs of the picture as the first inputs."""
    return [
        tf.keras.layers.Input((24, 24, 1)),
        lq.layers.QuantConv2D(6, 3, strides=2, **SIGN), tf.keras.layers.MaxPool2D(2), norm(rng, 6),
        lq.layers.QuantConv2D(9, 2, **SIGN | {"use_bias": True}), tf.keras.layers.MaxPool2D(2), norm(rng, 9),
        tf.keras.layers.Flatten(),
        lq.layers.QuantDense(17, **SIGN | {"use_bias": True}), norm(rng, 17),
        lq.layers.QuantDense(10, **SIGN, activation="softmax"),
    ]  # fmt: skip


def chain(rng: np.random.Generator) -> list[tf.keras.layers.Layer]:
    """Signs from one convolution to the next, for which the converter writes thresholds."""
    return [
        tf.keras.layers.Input((8, 8, 1)),
        lq.layers.QuantConv2D(33, 3, padding="same", pad_values=1.0, **SIGN), norm(rng, 33),
        lq.layers.QuantConv2D(9, 3, strides=2, **SIGN), norm(rng, 9),
        lq.layers.QuantConv2D(40, 2, padding="same", pad_values=1.0, **SIGN), norm(rng, 40),
        lq.layers.QuantConv2D(12, 3, **SIGN), norm(rng, 12), tf.keras.layers.Flatten(),
        lq.layers.QuantDense(10, **SIGN), tf.keras.layers.BatchNormalization(momentum=0.9, scale=False),
        tf.keras.layers.Activation("softmax"),
    ]  # fmt: skip


def main(archive: Path, wanted: list[str]) -> None:
    x, y = digits(archive)
    path = HERE / "larq.npz"
    arrays: dict[str, np.ndarray] = dict(np.load(path)) if path.exists() else {}
    arrays |= {"x": x[-SAMPLES:], "y": y[-SAMPLES:].astype(np.uint8)}
    for seed, (make, side, channels) in enumerate([(dense, 0, 0), (conv, 28, 3), (pooled, 24, 1), (chain, 8, 0)]):
        name = f"larq_{make.__name__}"
        if make.__name__ not in wanted:
            continue
        tf.keras.utils.set_random_seed(seed)
        taken = pictures(x, side, channels) if channels else x.reshape(-1, side, side, 1) if side else x
        numbers = (taken / np.float32(127.5 if channels else 8) - np.float32(1)).astype(np.float32)
        model = tf.keras.Sequential(make(np.random.default_rng(seed)), name=name)
        model.compile(tf.keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", ["accuracy"])
        model.fit(numbers[:-SAMPLES], y[:-SAMPLES], 64, 40, verbose=0)
        print(name, model.evaluate(numbers[-SAMPLES:], y[-SAMPLES:], verbose=0))
        model.save(HERE / f"{name}.h5", include_optimizer=False, save_format="h5")
        if make is dense:
            model.save_weights(HERE / f"{name}_weights.h5")
        converted = lce.convert_keras_model(model)
        (HERE / f"{name}.tflite").write_bytes(converted)
        arrays[f"{name}.keras"] = model.predict(numbers[-SAMPLES:], verbose=0)
        arrays[f"{name}.lce"] = lce.testing.Interpreter(converted).predict(numbers[-SAMPLES:])
    np.savez_compressed(path, **arrays)
    tf.keras.utils.set_random_seed(0)
    ordinary = tf.keras.Sequential([
        tf.keras.layers.Input((8,)), tf.keras.layers.Dense(6, "relu"), tf.keras.layers.Dense(3, "softmax"),
    ])  # fmt: skip
    (HERE / "tensorflow.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(ordinary).convert())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or ["dense", "conv", "pooled", "chain"])
