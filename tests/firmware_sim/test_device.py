"""The firmware on the emulated board does what the same C does on the host, bit for bit."""

from pathlib import Path

import numpy as np
import pytest
import sample_report

from metabit.firmware_sim import Board, Device, boards, build, load_board, measure, stack_bound
from metabit.firmware_sim.build.elf import Program
from metabit.runtime import Model

VECTORS = Path(__file__).parent.parent / "vectors"


def networks() -> list[tuple[str, str]]:
    """(board, image). Every image where instructions are fewest and where they are most; on the other cores one of each kind."""
    each_kind = ["all-4bit", "conv-uint8", "dense-uint8", "votes-3bit", "fresh-head"]
    more = ["hidden-2bit", "output-5bit", "conv-bits", "conv-planes"]
    both = ("nrf52840", "rp2040")
    once = [("rp2040", "fresh-head-uint8"), ("nrf52840", "gates-levels")]  # test_heads.py has gates under a head
    return [(board, image) for board in boards() for image in each_kind + (more if board in both else [])] + once


@pytest.mark.parametrize(("name", "stem"), networks())
def test_predicting_and_learning_equal_the_host(name: str, image: Path, stem: str) -> None:
    board, image = load_board(name), image.with_stem(stem)
    model = Model.open(image)
    rng = np.random.default_rng(7)
    x = rng.integers(0, 256, (60, model.input_size)).astype(np.uint8)
    y = rng.integers(0, model.classes, 60)
    with Device(build(image, board), board) as device:
        assert (device.input_size, device.classes) == (model.input_size, model.classes)
        assert device.state() == model.state()
        replies = device.predict_many(x)
        assert replies.scores is not None and np.array_equal(replies.scores, model.scores(x))
        assert np.array_equal(replies.label, model.predict_many(x))

        replies = device.learn_many(x, y, states=True)
        assert replies.states is not None
        for i, reply in enumerate(replies):
            step = model.learn_one(x[i], int(y[i]))
            assert (reply.label, reply.skipped, reply.visited, reply.moved, reply.flipped) == step
            assert replies.states[i].tobytes() == model.state()
        assert device.state() == model.state()
        bound = stack_bound(Program.read(device.elf))
        assert bound.total is not None and device.stack_high_water <= bound.total
        assert max(bound.calls.values()) < 1024, "metabit.h: less than 1 KiB a call, built for size"
        assert bound.total - device.stack_high_water < 400, "a bound that far off would be of no use"


def test_one_and_many_are_the_same(board: Board, image: Path) -> None:
    x = np.random.default_rng(3).integers(0, 256, (5, 15)).astype(np.uint8)
    elf = build(image, board)
    with Device(elf, board) as one, Device(elf, board) as many:
        for i in range(5):
            one.learn(x[i], i)
        many.learn_many(x, range(5))
        assert one.state() == many.state()
        assert len(many.predict_many(x[:0])) == 0


def test_inference_needs_less_memory_and_refuses_to_learn(board: Board, image: Path) -> None:
    learn, infer = (Program.read(build(image, board, mode=mode)).sizes for mode in ("learn", "infer"))
    assert infer.arena < learn.arena and infer.state == 0 < learn.state and infer.code < learn.code
    x = np.random.default_rng(4).integers(0, 256, (9, 15)).astype(np.uint8)
    with Device(build(image, board, mode="infer"), board) as device:
        assert np.array_equal(np.asarray(device.predict_many(x).scores), Model.open(image).scores(x))
        with pytest.raises(Exception, match="mb_status -24"):
            device.learn(np.zeros(15, np.uint8), 0)


def test_a_damaged_image_does_not_boot(board: Board, image: Path, tmp_path: Path) -> None:
    """The host refuses to build one, so swap the image inside a good ELF."""
    elf, blob = build(image, board).read_bytes(), image.read_bytes()
    bad = tmp_path / "bad.elf"
    bad.write_bytes(elf.replace(blob, blob[:-1] + bytes([blob[-1] ^ 1])))
    with pytest.raises(Exception, match="stopped with mb_status -8"):
        Device(bad, board)


def test_sizes_add_up_to_the_elf(board: Board, image: Path) -> None:
    model, program = Model.open(image), Program.read(build(image, board))
    sizes = program.sizes
    assert (sizes.image, sizes.state, sizes.arena) == (model.image_size, model.state_size, model.arena_size("learn"))
    assert 0 <= sizes.flash - sum(len(blob) for _, blob in program.segments) < 16  # alignment
    assert 0 <= sizes.other_ram < 512 and 4_000 < sizes.code < 19_500
    assert program.symbol("image").address % 16 == 0


@pytest.mark.parametrize(
    ("name", "opt"), [(name, "-Os") for name in boards()] + [("nrf52840", "-O3"), ("rp2040", "-O3")]
)
def test_measure(name: str, image: Path, opt: str) -> None:
    board = load_board(name)
    rng = np.random.default_rng(5)
    x, y = rng.integers(0, 256, (30, 15)).astype(np.uint8), rng.integers(0, 5, 30)
    m = measure(image, board, x, y, opt=opt)
    assert m.learn is not None and m.learn.samples == 30
    assert 0 < m.predict.cycles_mean < m.learn.cycles_mean <= m.learn.cycles_max
    for cost in (m.predict, m.learn, m.boot):
        assert cost.insns_mean / 2 < cost.cycles_mean < 2 * cost.insns_mean
    assert (m.predict.cycles_mean < m.predict.insns_mean) == (m.core == "Cortex-M7")  # which alone starts two as a rule
    assert m.predict.ms_mean == pytest.approx(m.predict.cycles_mean / m.clock_hz * 1e3)
    assert 0 < m.stack_high_water < m.ram.parts["stack"]
    assert m.core == board.core.title and f"±{m.band_percent} %, zero-wait memory" in m.model
    assert m.band_percent == {"m7": 15, "m33": 30}.get(board.core.name, 10)
    # The split comes from a second build, which the compiler may lay out a little differently.
    for call, cost in (("predict", m.predict), ("learn", m.learn)):
        rows = [row for row in m.layers if row.call == call]
        assert sum(row.insns for row in rows) == pytest.approx(cost.insns_mean, rel=0.05)
        assert [row.layer for row in rows[:2]] == ["encode", "dense 45→33"] and rows[-1].phase == "setup"


def test_a_convolution_is_measured_under_its_name(image: Path) -> None:
    rng = np.random.default_rng(5)
    image = image.with_stem("conv-uint8")
    x, y = rng.integers(0, 256, (4, 216)).astype(np.uint8), rng.integers(0, 5, 4)
    m = measure(image, load_board("nrf52840"), x, y)
    assert m.learn is not None and m.stack_high_water < 1024  # metabit.h promises less than 1 KiB a call
    names = ["conv 3x3 9x8x3→4x4x12", "conv 3x3 4x4x12→2x2x40", "dense 160→18", "output 18→5"]
    learning = [row for row in m.layers if row.call == "learn"]
    assert [row.layer for row in m.layers if row.call == "predict"][:4] == names
    assert {row.layer for row in learning if row.phase in ("update", "backward")} <= set(names[2:])  # no work below


def test_the_report_takes_real_measurements(image: Path, tmp_path: Path) -> None:
    from metabit.firmware_sim import check, write_report

    board = load_board("nrf52840")
    m = measure(image, board, np.zeros((2, 15), np.uint8))
    report = sample_report.report(boards=[m], checks=check(m), chapters=[])
    assert "learning step" not in write_report(report, tmp_path)[1].read_text().split("<section>")[1]
