"""All pages of docs/results, README's tables and all pictures, from the rows in results/.

    python benchmarks/pages.py               or: make results
    python benchmarks/pages.py streams       the pages and pictures of one benchmark

Pictures are drawn into build/pictures; README's own, docs/results/demo.svg, is committed.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from metabit.data.rows import write_whole
from metabit.experiments import results
from metabit.experiments.results import Benchmark

NAMES = (
    "demo",
    "deployment",
    "streams",
    "stream_rivals",
    "frontier",
    "visit_rule",
    "training",
    "learner",
    "telling",
    "levels",
    "fresh",
    "guard",
    "train_step",
    "kernels",
    "boot",
    "equal_accuracy",
    "host",
    "onnxruntimes",
    "equal_scores",
    "onnx_learning",
    "tflite_learning",
)
INDEX = "docs/results/README.md"


def benchmark(name: str) -> Benchmark:
    found = importlib.import_module(name).BENCHMARK
    assert isinstance(found, Benchmark)
    return found


def index() -> str:
    """Where each table is, with the command and the rows behind it."""
    rows = []
    for name in NAMES:
        found = benchmark(name)
        pages = [
            path.removeprefix("docs/results/") for path in found.pages() if path.endswith(".md") and path != "README.md"
        ]
        links = ", ".join(f"[{page.removesuffix('/README.md').removesuffix('.md')}]({page})" for page in pages)
        table = f"[{found.table.name}](../../results/{found.table.name})"
        rows.append([links, "; ".join(found.titles.values()), f"benchmarks/{name}.py", table])
    about = """Each row in results/ is one measurement: a JSON object with the cell that decides it (experiment, variant, seed,
settings), the figures, and the machine and date. `make results` builds these pages and README's tables from the rows, and draws
the pictures into build/pictures. `python benchmarks/NAME.py` lists the experiments of a benchmark and what is missing; with the
name of an experiment it measures that, adds the rows and writes the pages."""
    return results.page("Results", about, results.markdown(["page", "experiments", "measured by", "rows"], rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(NAMES))
    asked = parser.parse_args()
    for name in asked.names:
        if name not in NAMES:
            parser.error(f"unknown benchmark {name!r}: choose from {', '.join(NAMES)}")
    for name in asked.names or NAMES:
        chosen = benchmark(name)
        for path in results.write_pages(chosen):
            print(path.relative_to(chosen.root))
        for place, draw in chosen.pictures().items():
            (chosen.root / place).parent.mkdir(parents=True, exist_ok=True)
            draw(chosen.root / place)
            print(place)
    write_whole(Path(__file__).parents[1] / INDEX, index())


if __name__ == "__main__":
    main()
