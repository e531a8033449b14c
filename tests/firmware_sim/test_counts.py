"""Counts that were made by hand, and one rule: the same code costs the same, every time."""

from pathlib import Path

import numpy as np
import pytest

from metabit.firmware_sim import Board, Device, build
from metabit.firmware_sim.price.cycles import Pricer, load_model

LOOP, MEMORY, CALL = 0, 1, 2


def test_a_loop_of_subs_and_bne(board: Board, probe: Path) -> None:
    """n rounds of 2 instructions and the closing bl.

    M0+, M3, M4, M33: a taken bne is 2 cycles, so a round is 3, the last one 2. bl: 3 on the M0+ (DDI 0484C, table 3-1);
    1 + P = 2 on the others with the pipeline refill P taken as 1.
    M7: both start in one cycle, bl in another. 8 more for each wrong guess of a two-bit counter that begins at 1, "not taken", and
    is kept from call to call: n = 1 goes as guessed and leaves 0; n = 2 jumps once, unexpectedly, and leaves 0 again; n = 10 jumps
    unexpectedly twice, then as guessed, and ends unexpectedly; n = 255 only ends unexpectedly.
    """
    rounds = np.array([1, 2, 10, 255], np.uint8)
    with Device(probe, board) as device:
        replies = device.predict_many(np.stack([np.full_like(rounds, LOOP), rounds], axis=1))
    n = rounds.astype(int)
    assert replies.insns.tolist() == (2 * n + 1).tolist()
    if board.core.name == "m7":
        assert replies.cycles.tolist() == (n + 1 + 8 * np.array([0, 1, 3, 1])).tolist()
    else:
        assert replies.cycles.tolist() == (3 * (n - 1) + 2 + (3 if board.core.name == "m0plus" else 2)).tolist()


def test_loads_stores_and_calls(board: Board, probe: Path) -> None:
    """By the tables of the reference manuals; for the M7 and M33, which have none, by cycles.toml.

    memory, M0+: mov 1, ldr 2, ldr 2, str 2, ldm 1+3, subs 1, ldm 1+2, muls 1, nop 1, bl 3.
    memory, M3, M4: the second ldr and the str follow a load and pipeline, 1 each; bl 2. mov 1, ldr 2, 1, 1, 4, 1, 3, 1, 1, 2.
    memory, M7, by the cycle each starts in: mov 0, early, so that ldr can take it as an address in 1; the other ldr beside it;
    str 2; ldm 3 and 4; subs 5, early too; ldm 6; muls 7 and nop beside it; bl 8.
    memory, M33: mov 0, ldr 1, ldr 2, str 4, when the load is done, ldm 5 to 8, subs 9, ldm 10 to 12, muls 13; nop 14 and bl 15
    find no partner in their word; 1 for the jump.
    call, M0+: bl 3, push 1+3, pop with return 3+3, bl 3.
    call, M3, M4: bl 2, push 4, pop 1+3+P with P = 2, bl 2; 1 more for returning to a bl that straddles two words.
    call, M7: bl 1, push 2, pop 2, 8 for the target of a return that it never saw, bl 1.
    call, M33: as the M4, without the last 1.
    """
    expected = {"m0plus": (20, 16), "m3": (17, 15), "m4f": (17, 15), "m7": (9, 14), "m33": (17, 14)}
    with Device(probe, board) as device:
        replies = device.predict_many(np.array([[MEMORY, 0], [CALL, 0]], np.uint8))
    assert replies.insns.tolist() == [10, 4]
    assert tuple(replies.cycles) == expected[board.core.name]


def test_the_same_call_costs_the_same(board: Board, image: Path) -> None:
    """Within a run, between batches, and after a restart; where a branch predictor remembers, only the same run again."""
    x = np.random.default_rng(1).integers(0, 256, (20, 15)).astype(np.uint8)
    elf = build(image, board)
    with Device(elf, board) as device:
        first, again = device.predict_many(x), device.predict_many(x)
        alone = [device.predict(row) for row in x]
        boot = device.boot_insns, device.boot_cycles
    with Device(elf, board) as device:
        restarted = device.predict_many(x)
        backwards = device.predict_many(x[::-1])
        assert boot == (device.boot_insns, device.boot_cycles)
    for other in (again.insns, np.array([r.insns for r in alone]), restarted.insns, backwards.insns[::-1]):
        assert np.array_equal(first.insns, other)
    assert np.array_equal(first.cycles, restarted.cycles)
    learns = board.core.name == "m7"
    for other in (again.cycles, np.array([r.cycles for r in alone]), backwards.cycles[::-1]):
        assert np.array_equal(first.cycles, other) != learns
        assert other.mean() == pytest.approx(first.cycles.mean(), rel=0.1)


@pytest.mark.parametrize(
    ("model", "code", "cycles", "taken"),
    [
        ("m4", "00bf", 1, 0),  # nop
        ("m4", "7047", 1, 2),  # bx lr
        ("m4", "fee7", 1, 1),  # b .
        ("m4", "91fbf2f0", 7, 0),  # sdiv r0, r1, r2: middle of 2..12
        ("m4", "0268 1368", 4, 0),  # ldr r2, [r0]; ldr r3, [r2]: the address is the loaded value, no pipelining
        ("m4", "0268 0368", 3, 0),  # ldr r2, [r0]; ldr r3, [r0]
        ("m4", "8842 b8bf 0130", 2, 0),  # cmp; it lt, folded; addlt
        ("m4", "80ee200a", 14, 0),  # vdiv.f32 s0, s0, s1
        ("m3", "00fb0110", 2, 0),  # mla
        ("m4", "00fb0110", 1, 0),
        ("m0plus", "4843", 1, 0),  # muls, single-cycle option
        ("m0plus", "bff34f8f", 3, 0),  # dsb
        ("m0plus", "10bd", 3, 2),  # pop {r4, pc}: 3 + N
        ("m7", "0268 1368", 3, 0),  # ldr r2, [r0]; ldr r3, [r2]: an address is needed a cycle early
        ("m7", "0268 0368", 1, 0),  # ldr r2, [r0]; ldr r3, [r0]: two load units
        ("m7", "0278 d218", 3, 0),  # ldrb r2, [r0]; adds r2, r2, r3: a narrow load takes one more
        ("m7", "8842 b8bf 0130", 2, 0),  # cmp and it; addlt
        ("m7", "91fbf2f0", 7, 0),
        ("m7", "fee7", 1, 0),  # b .
        ("m33", "0268 0368", 2, 0),
        ("m33", "4018 9218", 1, 0),  # adds r0, r0, r1; adds r2, r2, r2: a pair in one word
        ("m33", "4018 0218", 2, 0),  # adds r0, r0, r1; adds r2, r0, r0: the second needs the first
        ("m33", "00bf fee7", 1, 1),  # nop; b .
    ],
)
def test_prices_of_single_instructions(model: str, code: str, cycles: int, taken: int) -> None:
    cost = Pricer(load_model(model)).price(bytes.fromhex(code), 0x1000)
    assert (cost.cycles, cost.taken) == (cycles, taken)


def test_the_stack_pointer_is_followed_inside_a_block() -> None:
    push_and_sub = bytes.fromhex("f0b5 84b0 04b0 f0bd")  # push {r4-r7, lr}; sub sp, #16; add sp, #16; pop
    assert Pricer(load_model("m0plus")).price(push_and_sub, 0).sp_low == -36
