"""The whole suite: helper modules by name, the marker `fast`, and the table of optional tools at the end of a run."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell without job control starts background programs like this: Ctrl-C would be ignored here and in every child.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# One thread for each process: threads of torch that share a core with another test cost three times the CPU in waiting.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Hundreds of tests start a Python program. Each finds the modules that another one compiled, else its start takes twice the time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

for helpers in (".", "export"):  # networks.py; frozen_reference.py. pytest's importlib mode leaves sys.path alone.
    sys.path.insert(0, str(Path(__file__).parent / helpers))

SLOW: dict[str, tuple[str, ...]] = {
    "cli/test_analyse_and_sweep.py": (),
    "cli/test_commands.py": (
        "test_a_convolutional_checkpoint_goes_all_the_way",
        "test_simulate_agrees_with_run",
        "test_ctrl_c_keeps_what_was_learned",
        "test_a_ternary_network_stays_one",
        "test_graded_units_refuse_options_of_other_networks",
    ),
    "cli/test_data.py": (
        "test_what_was_trained_on_a_table_goes_through_every_command_by_its_name",
        "test_run_keeps_file_order_unless_told_to_shuffle",
    ),
    "cli/test_errors.py": (
        "test_bits_as_features_need_no_encoder",
        "test_a_breached_budget_exits_3_with_value_and_limit",
    ),
    "cli/test_simulate.py": (),
    "cli/test_train.py": ("test_a_sequence",),
    "cli/test_tune.py": (),
    "data/test_download.py": ("test_the_real_ones",),
    "data/test_encoder.py": ("test_any_numbers",),
    "data/test_features.py": ("test_the_c_computes_what_python_says",),
    "data/test_scenarios.py": ("test_every_row_makes_tasks_that_fit_its_network",),
    "experiments/test_analyses.py": (),
    "experiments/test_plots.py": (),
    "experiments/test_race.py": ("test_luck_does_not_win",),
    "experiments/test_sweep.py": (),
    "export/test_bundle.py": (
        "test_four_exports_into_one_folder_at_once_leave_one_of_them_whole",
        "test_a_killed_export_leaves_a_folder_that_is_whole_or_named",
    ),
    "export/test_engines.py": ("test_a_damaged_file_is_refused_or_read_but_never_a_traceback",),
    "export/test_freeze.py": ("test_hidden_activations_of_a_trained_network_are_those_of_torch",),
    "export/test_freeze_windows.py": (),
    "export/test_image.py": ("test_what_is_written_comes_back",),
    "export/test_oracle_gates.py": (
        "test_levels_follow_the_formula_within_int32",
        "test_integers_predict_what_floats_predict",
    ),
    "export/test_oracle_votes.py": (
        "test_the_oracle_is_the_plain_reference",
        "test_five_noisy_pictures_are_learnt_from_nothing",
    ),
    "firmware_sim/test_cost.py": (),
    "firmware_sim/test_counts.py": (),
    "firmware_sim/test_device.py": (),
    "firmware_sim/test_faults.py": (),
    "firmware_sim/test_features.py": (),
    "firmware_sim/test_heads.py": (),
    "firmware_sim/test_kernels.py": (),
    "firmware_sim/test_serial.py": (
        "test_every_machine_learns_is_cut_and_remembers",
        "test_hostile_frames_under_sanitizers",
        "test_a_machine_behind_a_bad_line_ends_in_the_hosts_state",
    ),
    "firmware_sim/test_flash_files.py": (
        "test_a_program_is_the_same_in_every_file",
        "test_the_sources_of_every_board_compile_without_a_warning",
    ),
    "firmware_sim/test_stack.py": (),
    "flow/test_demo.py": (),
    "flow/test_docs.py": ("test_commands_run",),
    "flow/test_examples.py": (
        "test_own_data",
        "test_stream_chart",
        "test_the_port_answers_as_python_does",
        "test_the_port_is_a_program_for_a_chip",
        "test_a_sensor_is_read_in_c_as_in_python",
    ),
    "flow/test_porting.py": (),
    "flow/test_readme.py": ("test_the_commands_leave_what_they_say", "test_a_strangers_own_file"),
    "flow/test_results.py": ("test_every_picture_is_drawn_from_the_rows", "test_every_page_belongs_to_a_benchmark"),
    "flow/test_serial_page.py": ("test_the_page_runs_from_the_first_command_to_the_last",),
    "flow/test_whole_path.py": (),
    "nn/test_layers.py": (
        "test_a_compiled_module_has_no_break_and_equal_gradients",
        "test_the_default_compiler_runs_it",
    ),
    "nn/test_page.py": (),
    "runtime/test_amalgamation.py": (),
    "runtime/test_config.py": (),
    "runtime/test_cppcheck.py": (),
    "runtime/test_cuts.py": (),
    "runtime/test_flips.py": (),
    "runtime/test_flash_life.py": ("test_the_c_programs_what_python_computes",),
    "runtime/test_fuzz.py": (),
    "runtime/test_packages.py": (),
    "runtime/test_parts.py": (),
    "runtime/test_sources.py": (),
    "runtime/test_store_drivers.py": (),
    "runtime/test_votes.py": ("test_slots_wrap_and_inputs_beyond_a_batch_are_counted",),
    "runtime/test_wide.py": (),
    "runtime/test_windows.py": (
        "test_the_oracle_is_what_loops_say",
        "test_any_network_of_windows_is_the_oracle_s",
        "test_windows_on_bytes_of_every_length",
    ),
    "test_c_layout.py": (),
    "train/test_checkpoint.py": ("test_damage_is_an_error_or_a_valid_checkpoint",),
    "train/test_loop.py": ("test_digits_are_learnt", "test_metaplasticity_protects_the_first_task"),
    "train/test_penalties.py": ("test_the_fisher_says_where_to_hold_on",),
    "train/test_recipe.py": ("test_raw_features_of_wine_and_of_two_classes",),
    "train/test_room.py": ("test_a_missing_extra_is_one_sentence",),
    "train/test_run.py": (
        "test_ctrl_c_and_resume_give_the_identical_end",
        "test_ctrl_c_in_progress_and_a_lost_epoch",
        "test_interleaved_is_the_upper_bound",
    ),
}
"""File -> its slow test functions; all of its tests if none is named. `pytest -m fast` runs every other test."""


def pytest_configure(config: pytest.Config) -> None:
    """Keeps compiled firmware in pytest's cache: later runs and other workers use it, and the user's own cache stays as it is."""
    if "METABIT_CACHE_DIR" not in os.environ and hasattr(config, "cache"):
        os.environ["METABIT_CACHE_DIR"] = str(config.cache.mkdir("metabit"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Gives each test to the worker that is free, but all tests of a file with a fixture for the whole file to one worker.

    Otherwise both workers would follow README, compile the library without convolutions, and so on.
    """
    from xdist.scheduler import LoadScopeScheduling

    @cache
    def has_fixture(file: str) -> bool:
        return 'scope="module"' in (config.rootpath / file).read_text()

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file if has_fixture(file) else nodeid

    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test as fast unless `SLOW` names its file or its function."""
    here = Path(__file__).parent
    for item in items:
        slow = SLOW.get(item.path.relative_to(here).as_posix())
        name = getattr(item, "originalname", item.name)
        if slow is None or (slow and name not in slow):
            item.add_marker(pytest.mark.fast)


def _program(name: str) -> Callable[[], bool]:
    return lambda: shutil.which(name) is not None


def _package(name: str) -> Callable[[], bool]:
    return lambda: importlib.util.find_spec(name) is not None


def _has_newlib() -> bool:
    words = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-fsyntax-only", "-xc", "-"]
    return subprocess.run(words, input=b"#include <string.h>\n", capture_output=True).returncode == 0


OPTIONAL: dict[str, tuple[Callable[[], bool], str]] = {
    "gcc": (_program("gcc"), r"\bno gcc\b"),
    "g++": (_program("g++"), r"\bno g\+\+"),
    "clang": (_program("clang"), r"\bno clang\b"),
    "cppcheck": (_program("cppcheck"), r"\bno cppcheck\b"),
    "qemu-system-arm": (_program("qemu-system-arm"), r"qemu-system-arm"),
    "arm-none-eabi-gcc": (_program("arm-none-eabi-gcc"), r"arm-none-eabi"),
    **{name: (_program(name), rf"\bno {name}\b") for name in ("qemu-system-arm", "qemu-system-riscv32")},
    "rp2040js (METABIT_RP2040JS)": (lambda: "METABIT_RP2040JS" in os.environ, r"METABIT_RP2040JS"),
    "its C library (newlib)": (lambda: not shutil.which("arm-none-eabi-gcc") or _has_newlib(), r"newlib"),
    "real data (METABIT_DATA_DIR)": (lambda: "METABIT_DATA_DIR" in os.environ, r"METABIT_DATA_DIR"),
    "CMSIS-NN (METABIT_CMSIS_NN)": (lambda: "METABIT_CMSIS_NN" in os.environ, r"METABIT_CMSIS_NN"),
    "native training step (_fused)": (lambda: _package("metabit.train.rule._fused")(), r"_fused"),
    "a user who is not root": (lambda: os.name != "posix" or os.geteuid() != 0, r"\broot\b"),
    **{name: (_package(name), rf"\b{name}\b") for name in
       ("torch", "onnx", "onnxruntime", "flatbuffers", "ai_edge_litert", "larq_compute_engine", "h5py", "cmake", "ninja",
        "platformio", "idf_component_manager", "kconfiglib")},
}  # fmt: skip
"""Optional tool -> True if it is here, and the words by which a skipped test names it."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says which optional tools are absent, and how many tests were not run for each."""
    reasons = [str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", [])]  # type: ignore[index]
    left_out: Counter[str] = Counter()
    for reason in reasons:
        named = [tool for tool, (_, words) in OPTIONAL.items() if re.search(words, reason)]
        left_out[named[0] if named else reason.removeprefix("Skipped: ")] += 1
    absent = [tool for tool, (is_here, _) in OPTIONAL.items() if not is_here()]
    rows = [(tool, "absent" if tool in absent else "present", left_out.pop(tool, 0)) for tool in OPTIONAL]
    rows = [row for row in rows if row[1] == "absent" or row[2]] + [(why, "", n) for why, n in left_out.items()]
    terminalreporter.section("optional tools")
    if not rows:
        terminalreporter.write_line("all are here: nothing was left out")
    for tool, state, count in rows:
        terminalreporter.write_line(f"{tool:<34} {state:<8} {count:>5} tests not run")


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of tests/reference: `reference NAME.mbit NAME.vec`."""
    from compilers import WARNINGS, run

    target = tmp_path_factory.mktemp("reference") / "replay"
    flags = [flag for flag in WARNINGS if flag != "-Wconversion"]
    run("gcc", "-std=c99", "-O1", *flags, *(Path(__file__).parent / "reference").glob("*.c"), "-lm", "-o", target)
    return target
