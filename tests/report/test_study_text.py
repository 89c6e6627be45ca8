"""A study's tables as text, page and figure, from scores whose numbers are known."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from selma.comparing.items import item_scores
from selma.comparing.seed_comparison import over_seeds
from selma.core.errors import ConfigError
from selma.report.study_page import render_figure, render_study
from selma.report.study_text import as_latex, as_markdown
from selma.studies.comparison import compare_study
from selma.studies.study_file import Study, row_of

ABOUT = {"metric": "dsg", "measure": "dsg", "title": "DSG", "version": "1", "policy": "p"}
ABOUT |= {"judge": "j", "unit": "percent", "factor": 100.0}
TABLE = {
    "title": "All & more",
    "measures": {"dsg": "none"},
    "rows": {"merged | 50 %": "v/merged", "base": "v/base"},
    "against": {"base": "base"},
    "paper": {"merged | 50 %": {"dsg": 70.65}},
}


def study(seeds=(0, 1, 2), title="All & more"):
    """Merged is better by 10, 11 and 12 points, base has 20 in every seed; on two prompts."""
    claim = {"claim": "<b>better</b>", "measure": "dsg", "first": "v/merged", "second": "v/base"}
    made = Study(
        name="toy", question="Is it <better>?", seeds=list(seeds), settings=[], targets=[],
        variants={"v": []}, measures=["dsg"], trained_against={}, confidence=0.95, resamples=100,
        tables={"all": {**TABLE, "title": title}},
        claims=[{**claim, "direction": "greater", "paper": 2.1}],
    )  # fmt: skip
    scores = {}
    for name, gain in (("v/merged", 0.1), ("v/base", 0.0)):
        by_seed = {
            seed: item_scores("dsg", name, [
                {"item_id": f"i{k}", "sample": 0, "source": "s", "weight": 1.0,
                 "score": 0.2 + (gain and gain + 0.01 * seed) + 0.02 * (k - 0.5)}
                for k in range(2)
            ], ABOUT)
            for seed in seeds
        }  # fmt: skip
        scores["dsg", row_of(name)] = over_seeds(name, by_seed)
    return compare_study(made, scores)


def test_markdown_has_our_number_beside_the_papers():
    text = as_markdown(study())
    assert "| merged \\| 50 %" in text
    line = next(line for line in text.splitlines() if "50 %" in line)
    # 4.3027 / √3 = 2.484 around 11
    assert [cell.strip() for cell in line.split("|")[3:-1]][1:] == [
        "70.7", "**+11.0** (+8.5 to +13.5)"
    ]  # fmt: skip
    assert "3 training seeds (0, 1, 2) × 2 prompts × 1 picture." in text
    claim = next(line for line in text.splitlines() if "better</b>" in line)
    assert "shown" in claim and "3 of 3" in claim and "+2.1" in claim


def test_one_seed_says_that_it_does_not_cover_another_training():
    assert "One seed: no interval or verdict here covers another training." in as_markdown(
        study(seeds=(0,))
    )
    assert "Two seeds say little" in as_markdown(study(seeds=(0, 1)))


def test_latex_is_escaped():
    text = as_latex(study())
    assert r"merged | 50 \% & 31.0" in text and r"\textbf{+11.0} (+8.5 to +13.5)" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2


def test_the_page_escapes_what_a_person_wrote():
    page = render_study(study())
    assert "<h1>Is it &lt;better&gt;?</h1>" in page and "<b>better</b>" not in page
    assert '<b class="good">shown</b>' in page
    assert page.count(">70.7<") == 1 and page.count(">+2.1<") == 1  # the paper's, 70.65 and 2.1
    assert page == render_study(study())


def test_a_figure_is_an_svg_that_stands_alone():
    figure = render_figure(study(title="a < b"), "all")
    root = ElementTree.fromstring(figure)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    # 0 to 15 in steps of 5: 312 px from x = 112
    chart = root.find("{http://www.w3.org/2000/svg}svg")
    (legend,) = (float(found) for found in re.findall(r'class="m1" cx="\d+" cy="([\d.]+)"', figure))
    assert float(chart.attrib["height"]) < legend - 4.5  # below the chart, whose height is its own
    (mark,) = re.findall(r'class="m1 better" cx="([\d.]+)"', figure)
    assert float(mark) == pytest.approx(112 + 312 * 11 / 15, abs=0.06)
    with pytest.raises(ConfigError, match="unknown table of the study 'none'; choose one of: all"):
        render_figure(study(), "none")
