import json
from html.parser import HTMLParser
from pathlib import Path

import sample_report

from metabit.firmware_sim import write_report
from metabit.firmware_sim.report import charts
from metabit.firmware_sim.report.page import Provenance, as_html

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Balanced(HTMLParser):
    """Every tag closed in order, and nothing loaded from outside the file."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not {"src", "href", "onclick"} & {name for name, _ in attrs}
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_both_files_hold_the_same_numbers(tmp_path: Path) -> None:
    data_path, page_path = write_report(sample_report.report(), tmp_path / "out")
    data, page = json.loads(data_path.read_text()), page_path.read_text()
    assert data["passed"] is False and data["checks"][-1]["passed"] is True
    assert data["boards"][0]["learn"]["ms_mean"] == 3.0 and "3.00 ms" in page
    assert data["deployments"][0]["curve"][0][1] == [0.941, 0.62] and "94.1 %" in page and "62.0 %" in page
    assert "1 of 8 budgets exceeded" in page and "✗ over" in page and "✓ within 25 ms" in page
    assert "±10 %" in page and "metabit demo --seed 1" in page


def test_the_page_is_well_formed_and_self_contained() -> None:
    page = as_html(sample_report.report())
    parser = Balanced()
    parser.feed(page)
    assert not parser.open and "script" not in parser.seen and parser.seen.count("svg") == 4
    assert "http" not in page and "url(" not in page
    assert "&lt;control&gt;" in page and "<control>" not in page


def test_a_report_without_breaches_says_so() -> None:
    page = as_html(sample_report.report(checks=sample_report.report().checks[:2]))
    assert "✓ all 2 budgets met" in page and 'class="chip fail"' not in page


def test_chart_axes_hold_the_data() -> None:
    assert charts._ticks(0, 6000, 6) == [0, 1000, 2000, 3000, 4000, 5000, 6000]
    assert charts._ticks(0.5, 1, 5) == [0.5, 0.6000000000000001, 0.7000000000000001, 0.8, 0.9, 1.0]
    flat = charts.accuracy([(0, (1.0,)), (10, (1.0,))], ["perfect & so on"])
    assert "100.0 %" in flat and "perfect &amp; so on" in flat and "nan" not in flat
    one = charts.levels({0: 5}, {-1: 5})
    assert "level -1: 0 before, 5 after" in one


def test_provenance_names_versions_but_no_machine() -> None:
    provenance = Provenance.now("metabit demo", 3, compiler="zig 0.17.1")
    assert set(provenance.versions) == {"metabit", "compiler", "unicorn", "capstone", "numpy"}
    assert len(provenance.date) == 10
