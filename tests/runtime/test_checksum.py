"""Checksums of an image, old and new ones: errors that they find, and where they lie."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from compilers import WARNINGS, run
from networks import fresh_network, gates_network, network, seal

from metabit.export import Notes, read_image, write_image
from metabit.export.files.image import with_state
from metabit.export.files.image_layout import MINOR, MINOR_OF_WORDS, checksum
from metabit.runtime import Model, ModelError

NETWORKS = (network(1), gates_network(2, notes=Notes(("a", "b", "c"), ())), fresh_network(3))


def test_the_checksum_finds_what_the_page_says(tmp_path: Path) -> None:
    """All of it by algebra, not by samples; and its values for the page's three texts, in C and in Python."""
    run("gcc", "-std=c99", "-O2", *WARNINGS, Path(__file__).with_name("checksum.c"), "-o", tmp_path / "checksum")
    found = run(tmp_path / "checksum").split()
    page = (Path(__file__).parents[2] / "runtime" / "FORMAT.md").read_text()
    texts = (b"", b"12345678", b"123456789")
    assert found == [f"{checksum(text, MINOR):08x}" for text in texts]
    assert all(f"0x{value.upper()}" in page for value in found) and "37,989,432" in page and "10,420" in page


@pytest.mark.parametrize("frozen", NETWORKS)
def test_images_of_both_kinds_are_the_same_network(frozen: object) -> None:
    new, old = write_image(frozen), write_image(frozen, crc32=True)  # type: ignore[arg-type]
    assert new[6] == MINOR_OF_WORDS > old[6] and len(new) == len(old)
    different = {at for at in range(len(new)) if new[at] != old[at]}
    assert different <= {6, *range(12, 16), *range(24, 28), *range(36, 40)}
    assert zlib.crc32(old[:12] + bytes(4) + old[16 : 64 + 64 * old[40]]) == struct.unpack_from("<I", old, 12)[0]
    assert write_image(read_image(old)) == new
    for image in (new, old):
        model, rng = Model(image), np.random.default_rng(0)
        model.learn_many(rng.integers(0, 100, (20, model.input_size)), rng.integers(0, 3, 20))
        learned = model.image()
        assert learned[6] == image[6] and learned == seal(learned) != image
        assert with_state(image, model.state()) == learned and Model(learned).state() == model.state()


@pytest.mark.parametrize("crc32", [False, True])
def test_every_changed_byte_is_found(crc32: bool) -> None:
    image = write_image(network(1, (6, 5, 4, 3), k=3, planes=2), crc32=crc32)
    for at in range(len(image)):
        for change in (1, 128, 255):
            data = bytearray(image)
            data[at] ^= change
            with pytest.raises(ModelError):
                Model(bytes(data))


def test_a_section_that_ends_inside_a_word_counts_to_its_end() -> None:
    """Our writer fills the word; another writer need not, and then the bytes between the sections, all 0, count as well."""
    image = bytearray(write_image(NETWORKS[1]))
    (size,) = struct.unpack_from("<I", image, 56)
    (at,) = struct.unpack_from("<I", image, 28)
    padding = at - struct.unpack_from("<I", image, 52)[0] - size
    assert 0 < padding < 4
    struct.pack_into("<I", image, 20, struct.unpack_from("<I", image, 20)[0] - padding)
    assert Model(seal(image)).class_names == Model(write_image(NETWORKS[1])).class_names
    assert read_image(seal(image)).notes == NETWORKS[1].notes
    image = bytearray(seal(image))
    image[at - 1] = 1
    with pytest.raises(ModelError, match="constant section is damaged"):
        Model(bytes(image))
