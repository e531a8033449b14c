import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
import sample_report

from metabit.firmware_sim import FirmwareError, write_report
from metabit.firmware_sim.report import charts
from metabit.firmware_sim.report.page import Provenance, Report, as_html, as_json

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


def html(report: Report) -> str:
    """The page, with plain spaces before units."""
    return as_html(report).replace("\N{NO-BREAK SPACE}", " ")


def test_both_files_hold_the_same_numbers(tmp_path: Path) -> None:
    data_path, page_path = write_report(sample_report.report(), tmp_path / "out")
    data, page = json.loads(data_path.read_text()), page_path.read_text().replace("\N{NO-BREAK SPACE}", " ")
    assert data["passed"] is False and data["checks"][-1]["passed"] is True
    assert data["boards"][0]["learn"]["ms_mean"] == 3.0 and "3.00 ms" in page
    assert (
        data["chapters"][0]["deployments"][0]["curve"][0][1] == [0.941, 0.62] and "94.1 %" in page and "62.0 %" in page
    )
    assert "1 of 8 budgets exceeded" in page and "✗ over" in page and "✓ within 25 ms" in page
    assert "±10 %" in page and "metabit demo --seed 1" in page


def test_the_page_is_well_formed_and_self_contained() -> None:
    page = html(sample_report.report())
    parser = Balanced()
    parser.feed(page)
    assert not parser.open and "script" not in parser.seen and parser.seen.count("svg") == 8
    assert "http" not in page and "url(" not in page
    assert "&lt;control&gt;" in page and "<control>" not in page


def test_the_rivals_stand_beside_the_model() -> None:
    page = html(sample_report.report())
    data = as_json(sample_report.report())["chapters"][0]["comparisons"]["mixed"]
    at = page.index("Beside other learners: mixed")
    card = page[at : page.index("</table>", at)]
    assert "SLDA is better here." in card and "metabit &lt;a&gt;" in card and "10,920 B" in card
    assert "93.1 % → <b>90.2 %</b>" in card and "87.5 %" in card and "92.1 %" in card and "They began alike." in page
    assert data["lines"][1]["state"] == 10_920 and data["lines"][1]["prequential"] is None
    assert "Beside other" not in html(sample_report.report(chapters=[sample_report.chapter(comparisons={})]))


def test_a_file_that_cannot_be_written_whole_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report(sample_report.report(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(before) == {"report.json", "report.html"}

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(FirmwareError, match=r"cannot write .*report.json \(No space left on device\): choose a folder"):
        write_report(sample_report.report(title="Another"), tmp_path)
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_charts_scale_and_wide_tables_scroll_with_a_hint() -> None:
    page = html(sample_report.report())
    style = page[page.index("<style>") : page.index("</style>")]
    assert "svg { display: block; width: 100%; height: auto;" in style and "min-width: 430px" not in style
    assert page.count("<svg viewBox=") == 8
    body = page[page.index("<main>") :]
    for table in ("More columns: scroll sideways →", "More boards: scroll sideways →"):
        hint = body.index(table)
        assert body[hint:].split("<div class=", 2)[1].startswith('"scroll">')


def test_times_come_with_the_sample_that_took_longest() -> None:
    page = html(sample_report.report())
    assert "3.15 ms at 95 %" in page and "3.30 ms worst" in page
    assert "worst: sample 7 of the training part, call 51 of 100" in page
    assert "all samples of an example" in page and "By layer: the first samples of an example." in page


def test_a_report_without_breaches_says_so() -> None:
    page = html(sample_report.report(checks=sample_report.report().checks[:2]))
    assert "✓ all 2 budgets met" in page and 'class="chip fail"' not in page


def test_chart_axes_hold_the_data() -> None:
    assert charts._ticks(0, 6000, 6) == [0, 1000, 2000, 3000, 4000, 5000, 6000]
    assert charts._ticks(0.5, 1, 5) == [0.5, 0.6000000000000001, 0.7000000000000001, 0.8, 0.9, 1.0]
    flat = charts.accuracy([(0, (1.0,)), (10, (1.0,))], ["perfect & so on"])
    assert "100.0 %" in flat and "perfect &amp; so on" in flat and "nan" not in flat
    far = charts.course([(10, 1.0, 2.0), (20, 1.0, 2.5)], "prediction", 100.0)
    assert "budget" not in far and ">2.5<" in far
    assert "budget 5 ms" in charts.course([(10, 1.0, 2.0)], "prediction", 5.0)
    one = charts.levels({0: 5}, {-1: 5})
    assert "level -1: 0 before, 5 after" in one


def test_provenance_names_versions_but_no_machine() -> None:
    provenance = Provenance.now("metabit demo", 3, compiler="zig 0.17.1")
    assert set(provenance.versions) == {"metabit", "compiler", "unicorn", "capstone", "numpy"}
    assert len(provenance.date) == 10
