"""The page is one file that asks for nothing, escapes all text and says what was found."""

import base64
import dataclasses
import re
from html import escape
from html.parser import HTMLParser

import pytest

from selma.core.errors import RecordError
from selma.report.page import MAX_SIDE_PX, PALETTE, Content, _reduced, render_page

from .conftest import changed, comparison, examples_of, item, png
from .test_markdown import hacked

VOID = {"meta", "img", "line", "rect", "circle", "polyline"}


class Parsed(HTMLParser):
    """Elements as (tag, attributes, text directly inside)."""

    def __init__(self, html):
        super().__init__()
        self.open, self.elements = [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.elements.append([tag, dict(attributes), ""])
        if tag not in VOID:
            self.open.append(self.elements[-1])

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_startendtag(self, tag, attributes):
        self.elements.append([tag, dict(attributes), ""])

    def handle_data(self, data):
        if self.open:
            self.open[-1][2] += data

    def all(self, tag):
        return [(attributes, text.strip()) for name, attributes, text in self.elements
                if name == tag]  # fmt: skip


def page_with(content, **values):
    return render_page(dataclasses.replace(content, comparison=changed(content, **values)))


def test_the_page_is_well_formed_and_makes_no_request(content):
    html = render_page(content)
    page = Parsed(html)
    assert page.open == []
    tags = {tag for tag, *_ in page.elements}
    assert {"script", "link", "iframe"} & tags == set()
    used = [attributes[name] for _, attributes, _ in page.elements
            for name in ("src", "href") if name in attributes]  # fmt: skip
    assert all(value.startswith(("data:image/png;base64,", "#")) for value in used)
    ids = {attributes["id"] for _, attributes, _ in page.elements if "id" in attributes}
    assert {value[1:] for value in used if value.startswith("#")} == ids
    assert "http" not in html and "@import" not in html and "url(" not in html


def test_prompts_questions_and_names_are_text_never_markup(content):
    html = render_page(content)
    assert not re.search(r"<(script|b>odd|i>warm|1>)", html)
    page = Parsed(html)
    prompts = [text for attributes, text in page.all("p") if attributes.get("class") == "prompt"]
    prompt = """<script>alert("1")</script> & 'two' red stars"""
    assert prompts[0] == prompt
    assert page.all("img")[0][0]["alt"] == f"old: {prompt}"
    assert 'is it "red" & <i>warm</i>?' in [text for _, text in page.all("td")]
    assert "score, cosine & co" in [text for _, text in page.all("figcaption")]
    assert f"({escape('<b>odd</b>')})" in html


def test_the_page_gives_the_hacking_alarm_and_marks_what_was_trained_against(content):
    found = content.comparison | {"hacking": [hacked()]}
    html = render_page(dataclasses.replace(content, comparison=found))
    assert '<p class="bad">Hacking alarm: new − old. PickScore +0.400' in html
    assert '<th scope="col">new ⚠</th>' in html and "<td>12.000†</td>" in html
    assert "†" not in render_page(content) and "#hacking" not in render_page(content)


def test_the_same_content_gives_the_same_bytes(content):
    assert render_page(content) == render_page(dataclasses.replace(content))


def test_a_picture_in_the_page_is_the_very_png(content):
    pictures = [attributes["src"] for attributes, _ in Parsed(render_page(content)).all("img")]
    shown = [base64.b64decode(source.removeprefix("data:image/png;base64,")) for source in pictures]
    assert shown == [
        png((200, 0, 0)), png((100, 0, 0)),  # a: worse
        png((0, 0, 0)), png((0, 0, 0)),  # b: alike
        png((0, 0, 0)), png((200, 0, 0)),  # c: better
    ]  # fmt: skip


def test_pictures_are_captioned_with_model_and_score(content):
    html = render_page(content)
    captions = re.findall(r"<figcaption>(\w+) <b>(.*?)</b></figcaption>", html)
    assert captions == [
        ("old", "100 %"), ("new", "50 %"), ("old", "0 %"), ("new", "0 %"), ("old", "0 %"),
        ("new", "100 %"),
    ]  # fmt: skip


def test_each_answer_has_its_mark(content):
    html = render_page(content)
    rows = re.findall(r'<span class="(good|bad|soft)">([✓✗○])</span> (\w+)</td>', html)
    assert rows == [
        ("good", "✓", "yes"), ("good", "✓", "yes"), ("good", "✓", "yes"), ("bad", "✗", "no"),  # a
        ("bad", "✗", "no"), ("bad", "✗", "no"), ("bad", "✗", "no"), ("soft", "○", "yes"),  # b
        ("bad", "✗", "no"), ("good", "✓", "yes"), ("bad", "✗", "no"), ("good", "✓", "yes"),  # c
    ]  # fmt: skip


def test_pairs_stand_under_their_outcome_and_all_are_counted(content):
    html = render_page(content)
    headings = ["Worse than old", "Both fail alike", "Better than old"]
    assert [text for _, text in Parsed(html).all("h3") if text in headings] == headings
    assert html.index("Worse than old") < html.index("a, sample 0") < html.index("Both fail alike")
    assert "Of 4 pairs, 1 worse, 1 equally wrong, 1 better, 1 both right." in html


def test_the_lead_has_the_numbers_of_the_measure_that_was_asked_for(content):
    lead = re.search(r'<p class="lead">(.*?)</p>', render_page(content), re.DOTALL).group(1)
    assert " ".join(re.sub("<.*?>", "", lead).split()) == (
        "Yes, better. DSG is 60.0 % for new and 50.0 % for old: a difference of +2.5 "
        "(95 % interval +1.5 to +3.5) on 4 prompts × 1 pictures."
    )
    other = render_page(dataclasses.replace(content, measure="pick"))
    assert "PickScore is 12.000 for new and 10.000 for old: a difference of +2.500" in other


@pytest.mark.parametrize(
    ("verdict", "words", "tone"),
    [("better", "Yes, better.", "good"), ("worse", "No, worse.", "bad"),
     ("undecided", "Undecided.", "soft")],
)  # fmt: skip
def test_the_verdict_decides_word_and_colour_and_not_the_interval(content, verdict, words, tone):
    for low, high in ((0.1, 1.0), (-1.0, -0.1), (-1.0, 1.0)):
        html = page_with(content, verdict=verdict, low=low, high=high)
        assert f'<b class="{tone}">{words}</b>' in html
        cells = re.findall(r'<b class="(good|bad|soft)">[+−]\d', html)
        assert set(cells) == {tone}
        assert len(cells) == 2 + 2 * 3  # a tile for each measure, three pairs in each row
        circles = re.findall(r'<circle class="m\d (\w+)"', html)
        assert set(circles) == {verdict}


def test_the_table_has_score_difference_interval_wins_and_p(content):
    html = render_page(content)
    row = re.search(r'<th scope="row">DSG<small>percent.*?</tr>', html, re.DOTALL).group(0)
    cells = [re.sub("<.*?>", "|", cell).strip("|") for cell in re.findall(r"<td>(.*?)</td>", row)]
    assert cells == [
        "50.0", "60.0", "70.0",
        "+2.5||+1.5 to +3.5||3 / 1 / 0||p 0.0123",
        "−0.5||−2.5 to +1.5||3 / 1 / 0||p 0.0123",
        "−0.5||−2.5 to +1.5||3 / 1 / 0||p 0.0123",
    ]  # fmt: skip
    heads = [
        text for attributes, text in Parsed(html).all("th") if attributes.get("scope") == "col"
    ]
    assert heads[:7] == ["measure", "old", "new", "both", "new − old", "new − both", "both − old"]


def test_what_was_measured_is_named_and_a_long_hash_is_cut(content):
    page = Parsed(render_page(content))
    judges = [
        (a["title"], text) for a, text in page.all("td") if a.get("title", "").startswith("j")
    ]
    assert judges == [("judge@" + "a1" * 32, "judge@a1a1a1a1…")] * 2
    assert "v<1>" in [text for _, text in page.all("td")]


def test_bars_and_whiskers_stand_where_the_axis_says(content):
    html = render_page(content)
    left = re.search(r"<title>DSG by skill</title>.*?</svg>", html, re.DOTALL).group(0)
    # percent from 0 to 77 (70 × 1.1): the axis goes to 80, 312 px; 50 (45 to 55), 60 (54 to 66)
    bars = re.findall(r'class="bar (m\d)" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', left)
    assert bars[:3] == [
        ("m0", "112.0", "195.0"),
        ("m1", "112.0", "234.0"),
        ("m2", "112.0", "273.0"),
    ]
    whiskers = re.findall(r'class="whisker (m\d)" x1="([\d.]+)" y1="[\d.]+" x2="([\d.]+)"', left)
    assert whiskers[0] == ("m0", "287.5", "326.5")
    right = re.search(r"<title>DSG: new minus the others</title>.*?</svg>", html, re.DOTALL).group(
        0
    )
    # −2.5 to 3.5 on an axis from −4 to 4: 39 px for 1 from x = 268
    circles = re.findall(r'circle class="(m\d \w+)" cx="([\d.]+)"', right)
    assert circles[:2] == [("m0 better", "365.5"), ("m2 undecided", "248.5")]
    whiskers = re.findall(
        r'class="whisker (m\d) \w+" x1="([\d.]+)" y1="[\d.]+" x2="([\d.]+)"', right
    )
    assert whiskers[:2] == [("m0", "326.5", "404.5"), ("m2", "170.5", "326.5")]
    heights = re.findall(r'cy="([\d.]+)"', right)
    assert heights[:2] == ["19.0", "34.0"]  # two marks in the middle of three rows from y = 4
    assert "<title>− old: 2.5 (1.5 to 3.5), better</title>" in right


def test_a_unit_without_a_natural_zero_has_no_bars(content):
    html = render_page(content)
    chart = re.search(r"<title>PickScore by skill</title>.*?</svg>", html, re.DOTALL).group(0)
    assert "<rect" not in chart and chart.count("<circle") == 9


def test_skills_stand_in_order_all_first_and_untaught_ones_in_brackets(content):
    labels = re.findall(r'<text class="label"[^>]*>(.*?)</text>', render_page(content))
    assert labels[:3] == ["all", "count", "(&lt;b&gt;odd&lt;/b&gt;)"]
    unknown = render_page(dataclasses.replace(content, skills=[]))
    assert "(&lt;b&gt;odd" not in unknown and "in brackets" not in unknown


def test_each_model_has_a_colour_of_its_own_in_the_key_and_in_the_style(content):
    html = render_page(content)
    assert re.findall(r'<i class="(m\d)"></i>(\w+)<', html) == [
        ("m0", "old"), ("m1", "new"), ("m2", "both")
    ]  # fmt: skip
    for place in range(3):
        assert f"--m{place}:{PALETTE[place][0]};" in html
        assert f"--m{place}:{PALETTE[place][1]};" in html
    assert "--m3" not in html


def test_a_merge_is_shown_with_norms_and_cosines(content):
    html = render_page(content)
    assert "The merge “sum”, checked" in html
    assert "by 1.2e-07 of its norm. Its rank is 80, its norm 0.700, its cosine to" in html
    rows = re.findall(
        r'<tr><th scope="row">([xy])</th><td>([\d.]+)</td>(.*?)</tr>', html, re.DOTALL
    )
    assert [(name, norm, re.findall(r'\),([\d.]+)\)">(.*?)<', cells)) for name, norm, cells in rows
            ] == [("x", "2.000", [("0.50", "1.00"), ("0.00", "−0.25")]),
                  ("y", "1.000", [("0.00", "−0.25"), ("0.50", "1.00")])]  # fmt: skip


def test_loss_curves_are_named_and_drawn(content):
    html = render_page(content)
    # 0.6 to 0.3 for both: 112 px from y = 8; 168 px from x = 44 for each one's steps
    assert re.findall(r'<polyline class="curve" points="(.*?)"', html) == [
        "128.0,45.3 212.0,82.7", "86.0,8.0 212.0,120.0"
    ]  # fmt: skip
    assert ">40 steps<" in html and "training loss of all of it" in html


def test_one_model_is_reported_without_comparisons(examples):
    alone = comparison(models=("new",), reference="new", against=())
    pictures = [dataclasses.replace(e, pictures=e.pictures[-1:]) for e in examples[:2]]
    html = render_page(Content(alone, "dsg_a", examples=pictures, n_by_outcome={"alike": 2}))
    assert "DSG is 50.0 % (95 % interval 45.0 to 55.0) on 4 prompts × 1 pictures." in html
    assert html.count("<img") == 2 and "−" not in re.sub("<style>.*?</style>", "", html)
    assert Parsed(html).open == []


def test_five_models_have_five_columns_and_ten_models_ten_colours():
    for count in (5, 10):
        models = tuple(f"model{number}" for number in range(count))
        many = comparison(models, "model1", "model0", ("model2", "model3"))
        html = render_page(Content(many, "dsg_a"))
        heads = [text for _, text in Parsed(html).all("th")]
        assert heads[1 : count + 1] == list(models)
        assert heads[count + 1 : count + 4] == [
            f"model1 − {other}" for other in ("model0", "model2", "model3")
        ]
        assert f"i.m{count - 1}{{" in html


def test_sections_without_content_are_left_out():
    html = render_page(Content(comparison(), "dsg_a"))
    for words in ("Pictures", "Training", "The merge"):
        assert words not in html
    assert Parsed(html).open == []


def test_pictures_of_a_measure_without_answers_have_scores_in_its_unit(content):
    found = examples_of([item("a", "count")], lambda _: 0, lambda _: 1, answered=False)
    html = render_page(
        dataclasses.replace(content, measure="pick", examples=found, n_by_outcome={"better": 1})
    )
    assert "new <b>50.000</b>" in html and "✓" not in html and "<th>question" not in html
    equal = examples_of([item("a", "count")], lambda _: 1, lambda _: 1, answered=False)
    html = render_page(dataclasses.replace(content, examples=equal, n_by_outcome={"alike": 1}))
    assert "No difference" in html and "Of 1 pairs, 1 equal." in html


def test_small_pictures_are_enlarged_unsmoothed_and_named_as_small(content):
    html = render_page(content)
    assert html.count('<article class="card pixels">') == 3
    assert "The pictures are 32 pixels wide" in html
    large = [
        dataclasses.replace(
            e, pictures=tuple(dataclasses.replace(p, png=png("red", 128)) for p in e.pictures)
        )
        for e in content.examples
    ]
    html = render_page(dataclasses.replace(content, examples=large))
    assert html.count('<article class="card">') == 3 and "pixels wide" not in html


def test_small_pictures_keep_their_bytes_and_large_ones_are_reduced():
    small = png("red")
    assert _reduced(small) == (small, 32)
    assert _reduced(png("red", MAX_SIDE_PX))[0] == png("red", MAX_SIDE_PX)
    assert _reduced(png("red", MAX_SIDE_PX * 2))[1] == MAX_SIDE_PX
    assert _reduced(png("red", MAX_SIDE_PX * 2, height=8))[1] == MAX_SIDE_PX
    with pytest.raises(RecordError, match="not a whole PNG"):
        _reduced(small[:45])


def test_a_measure_or_a_record_that_is_missing_is_named(content):
    with pytest.raises(RecordError, match="'tifa' was not compared; choose one of: dsg_a, pick"):
        render_page(dataclasses.replace(content, measure="tifa"))
    comparison = {**content.comparison, "comparisons": content.comparison["comparisons"][1:]}
    with pytest.raises(RecordError, match="no record of dsg_a for new − old, skill count"):
        render_page(dataclasses.replace(content, comparison=comparison))
    with pytest.raises(RecordError, match="lacks 'subject'; run `dvc repro compare`"):
        render_page(dataclasses.replace(content, comparison={}))
