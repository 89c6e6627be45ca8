"""The page is one file that asks for nothing, escapes all text and says what was found."""

import dataclasses
import re
from html.parser import HTMLParser

import pytest

from selma.report.charts import Mark, bar_chart, interval_chart
from selma.report.gallery import MAX_SIDE_PX, _reduced
from selma.report.page import render_page

from .conftest import png

VOID = {"meta", "img", "line", "rect", "circle", "polyline"}


class Balanced(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.sources, self.tags = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)


def parsed(html):
    page = Balanced()
    page.feed(html)
    return page


def test_the_page_is_well_formed_and_makes_no_request(content):
    html = render_page(content)
    page = parsed(html)
    assert page.open == []
    assert page.sources
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert {"script", "link", "iframe"} & set(page.tags) == set()
    assert "http" not in html and "@import" not in html and "url(" not in html


def test_prompts_and_skill_names_are_text_never_markup(content):
    html = render_page(content)
    assert "<script>" not in html and "<b>odd" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; two red stars" in html
    assert "&lt;b&gt;odd&lt;/b&gt;" in html


def test_the_same_content_gives_the_same_bytes(content):
    assert render_page(content) == render_page(dataclasses.replace(content))


def test_the_headline_names_difference_interval_and_number_of_prompts(content):
    html = render_page(content)
    assert "DSG 70.0 against 50.0, a difference of +2.5 (95 % interval +1.5 to +3.5)" in html
    assert "on 4 prompts × 1 pictures." in html
    assert "3 / 1 / 0" in html


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.1, 1.0, "follows prompts better than"),
        (-1.0, -0.1, "follows prompts worse than"),
        (-0.1, 1.0, "cannot be told apart from"),
    ],
)
def test_the_verdict_follows_the_interval_not_the_mean(content, low, high, words):
    changed = [{**record, "low": low, "high": high} for record in content.comparisons]
    assert words in render_page(dataclasses.replace(content, comparisons=changed))


def test_the_page_shows_each_chosen_pair_with_answers(content):
    html = render_page(content)
    assert html.count("<article") == len(content.examples) == 3  # d is right in both
    assert html.index("Worse than the base model") < html.index("Better than the base model")
    assert '<span class="bad">✗</span> no' in html
    assert "Of 4 pairs, 1 worse, 1 equally wrong, 1 better, 1 both right" in html


def test_a_skill_without_an_expert_is_marked(content):
    assert "(&lt;b&gt;odd&lt;/b&gt;)" in render_page(content)


def test_small_pictures_keep_their_bytes_and_large_ones_are_reduced():
    small = png("red")
    assert _reduced(small) == (small, 32)
    assert _reduced(png("red", MAX_SIDE_PX * 2))[1] == MAX_SIDE_PX


def test_a_bar_ends_where_the_axis_says():
    chart = bar_chart("t", {"count": [Mark("base", 50.0, 40.0, 100.0)]}, 1)
    ticks = dict(
        (text, float(x)) for x, text in re.findall(r'class="tick" x="([\d.]+)"[^>]*>(\d+)<', chart)
    )
    start, width = (
        float(v) for v in re.search(r'x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', chart).groups()
    )
    assert start == ticks["0"]
    assert start + width == pytest.approx((ticks["0"] + ticks["100"]) / 2, abs=0.1)


@pytest.mark.parametrize("values", [(0.0, 0.0, 0.0), (-0.0012, -0.0013, -0.001), (2e3, 1e3, 3e3)])
def test_a_chart_of_any_magnitude_keeps_its_marks_inside(values):
    chart = interval_chart("t", {"all": [Mark("base", *values)]}, 3, zero=True)
    places = [float(x) for x in re.findall(r'(?:x|x1|x2|cx)="(-?[\d.]+)"', chart)]
    assert places and all(0 <= place <= 440 for place in places)
