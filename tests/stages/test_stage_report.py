"""The stage report shows the measure, models, curves and certificates that params.yaml names."""

import base64
import re

import pytest
from PIL import Image, ImageDraw, ImageFont
from stage_world import (
    answer,
    item,
    question,
    run,
    sample,
    write_benchmark,
    write_samples,
)
from tiny_world import tiny_params, write_params

from selma.core.errors import MissingDataError, RecordError
from selma.core.files import write_curve, write_json
from selma.core.tables import content_hash, write_table

YES_NO = ("yes", "no")
FIRST = [
    item(name, f"{name}: a {colour} square", question(1, f"is {name} right?", choices=YES_NO))
    for name, colour in (("a", "red"), ("b", "blue"), ("c", "green"))
] + [item("d", "d: a pink square", question(1, "is d right?", choices=YES_NO), source="common")]
SECOND = [item("z", "a <ring> & a star")]
COLOUR = {"old": "red", "new": "blue", "other": "green"}
GRID_RIGHT_PX, GRID_TOP_PX, CELL_PX, SQUARE_PX = 72, 16 + 7 * 15 + 8, 128, 4 * 16
LIKED = {"kind": "hps", "title": "Liked", "benchmark": "second", "path": "p", "version": "pocket",
         "antialias": None, "batch_size": 1}  # fmt: skip
CERTIFICATE = {"relative_error": 1e-7, "rank": 77, "merged_norm": 0.5, "cosine_to_mean": 1.0,
               "norm": {"count": 1.0}, "cosine": {"count": {"count": 1.0}}}  # fmt: skip


def write_liked(folder, model, score):
    rows = [{"item_id": "z", "sample": 0, "source": "count", "score": score, "weight": 1.0,
             "details": "{}"}]  # fmt: skip
    about = {"metric": "hps", "measure": "liked", "title": "Liked", "version": "v", "policy": ""}
    about |= {"judge": "hand", "revision": "1", "judge_settings": {}, "preprocessing": ""}
    about |= {"unit": "points", "factor": 1.0, "benchmark": "second"}
    about["benchmark_sha256"] = content_hash(SECOND, "benchmark")
    write_table(folder / f"data/scores/liked/{model}.parquet", "scores", rows, about)


@pytest.fixture
def folder(world):
    """Three models: on DSG the new one is right twice more than the old one."""
    write_benchmark("first", *FIRST)
    write_benchmark("second", *SECOND)
    for model, colour in COLOUR.items():
        rows = [sample(one, place, colour) for place, one in enumerate(FIRST)]
        write_samples(model, "first", [{**row, "sample": 0} for row in rows])
        write_samples(model, "second", [sample(SECOND[0], 0, colour)])
    for model, right in (("old", "c"), ("new", "ab"), ("other", "")):
        said = [
            answer(one["item_id"], 1, "yes" if one["item_id"] in right else "no") for one in FIRST
        ]
        write_table(world / f"data/answers/asked/{model}.parquet", "answers", said)
        write_liked(world, model, {"old": 1.0, "new": 2.0, "other": 3.0}[model])
    for number, name in enumerate(CURVES):
        write_curve(world / f"plots/loss/{name}.csv", {"loss": [0.5 + number] * 20})
    write_json(world / "metrics/merges/sum.json", CERTIFICATE)
    write_json(world / "metrics/fits/scalars.json", {**CERTIFICATE, "rank": 78})
    found = {"evaluations": 2, "merge": {**CERTIFICATE, "rank": 79}}
    write_json(world / "metrics/searches/best.json", found)
    return world


CURVES = ("experts/count", "mixtures/both", "routers/moe", "fits/scalars", "distilled/learnt")
PLACES = "--data data --metrics metrics --curves plots/loss --out report"


def report(folder, *, places=PLACES, moved=False, compare=None, **changes):
    """Run scores, compare and report; the page's text."""
    params = tiny_params()
    row = {"instructions": "i", "prompts": {}, "images": {}, "lora": {}}
    merge = {"method": "delta_mean", "scale": 1.0, "weights": {"count": 1.0}}
    params |= {
        "skills": {"count": row},
        "merges": {"sum": merge},
        "fits": {"scalars": {"kind": "cat", "skills": ["count"], "lora": {}}},
        "searches": {"best": {}},
        "distillations": {"learnt": {}},
        "mixtures": {"both": {"skills": ["count"], "lora": {}}},
        "routers": {"moe": {"skills": ["count"], "top_k": 1, "lora": {}}},
        "models": {name: {"weights": "w"} for name in COLOUR},
        "answers": {"asked": {"judge": "pocket", "benchmark": "first", "template": "bare"}},
        "measures": {"dsg": {**params["measures"]["dsg"], "answers": "asked"}},
        "preferences": {"liked": LIKED},
        "compare": {"subject": "new", "reference": "old", "against": ["other"], "resamples": 100,
                    "trained_against": {}, "confidence": 0.95, **(compare or {})},
        "report": {"measure": "dsg", "examples": 24, **changes},
    }  # fmt: skip
    write_params(folder, params)
    run("scores", "--measure dsg --benchmarks data/benchmarks --answers data/answers/asked "
        "--out data/scores/dsg")  # fmt: skip
    run("compare", "--scores data/scores --metrics metrics --plot plots/scores.csv")
    if moved:
        (folder / "copy/plots").mkdir(parents=True)
        for name in ("data", "metrics", "plots/loss"):
            (folder / name).rename(folder / "copy" / name)
    run("report", places)
    return (folder / places.split()[-1] / "report.html").read_text(encoding="utf-8")


def pictures(page):
    """The pictures of the page, in its order."""
    return [
        base64.b64decode(data) for data in re.findall(r"data:image/png;base64,([\w+/=]+)", page)
    ]


def drawn(model, place, items=FIRST):
    return sample(items[place], place, COLOUR[model])["image"]["bytes"]


def squares(page):
    """Model and item of each picture of the page."""
    names = {drawn(m, n): (m, FIRST[n]["item_id"]) for m in COLOUR for n in range(len(FIRST))}
    return [names[data] for data in pictures(page)]


def test_pairs_of_reference_and_subject_are_shown_that_differ_or_are_wrong(folder):
    shown = squares(report(folder))
    pairs = list(zip(shown[::2], shown[1::2], strict=True))
    assert all(left[0] == "old" and right[0] == "new" for left, right in pairs)
    assert all(left[1] == right[1] for left, right in pairs)
    assert pairs[0][0][1] == "c"  # what became worse comes first
    assert sorted(left[1] for left, _ in pairs) == ["a", "b", "c", "d"]


def test_subject_and_reference_are_those_of_compare(folder):
    shown = squares(report(folder, compare={"subject": "other", "reference": "new", "against": []}))
    assert {model for model, _ in shown[::2]} == {"new"}
    assert {model for model, _ in shown[1::2]} == {"other"}


def test_as_many_pairs_are_shown_as_params_say(folder):
    assert len(pictures(report(folder, examples=1))) == 2
    assert len(pictures(report(folder, examples=3))) == 6


def test_the_measure_of_params_gives_the_pictures_and_its_answers(folder):
    page = report(folder)
    assert "is a right?" in page
    assert "DSG is 50.0 % for new and 25.0 % for old" in page
    assert "&lt;ring&gt;" not in page
    page = report(folder, measure="liked")
    assert "a &lt;ring&gt; &amp; a star" in page
    assert "Liked is 2.000 for new and 1.000 for old" in page
    assert "<ring>" not in page
    assert "is a right?" not in page
    assert pictures(page) == [drawn("old", 0, SECOND), drawn("new", 0, SECOND)]


def test_all_measures_models_curves_and_certificates_are_named(folder):
    page = report(folder)
    for word in ("DSG", "Liked", "old", "new", "other", "count", "both", "moe", "77"):
        assert re.search(rf"\b{word}\b", page), word


def test_what_fits_and_searches_made_is_certified_as_merges_are(folder):
    page = report(folder)
    for name, rank in (("sum", 77), ("scalars (fit)", 78), ("best (search)", 79)):
        assert f"The merge “{name}”, checked" in page and f"Its rank is {rank}," in page


def test_a_pictures_score_is_in_the_unit_of_the_measure(folder):
    cards = re.findall(r"base64,[^>]*>(.*?)</figure>", report(folder), flags=re.DOTALL)
    shown = {re.sub(r"<[^>]*>", " ", card).split()[-2] for card in cards}
    assert shown == {"0", "100"}


def test_a_skill_that_no_expert_was_trained_for_stands_in_brackets(folder):
    page = report(folder)
    assert "(common)" in page
    assert "(count)" not in page


def test_a_curve_that_is_not_there_is_named(folder):
    (folder / "plots/loss/mixtures/both.csv").unlink()
    with pytest.raises(MissingDataError, match=r"plots/loss/mixtures/both\.csv"):
        report(folder)


@pytest.mark.parametrize("path", ["metrics/merges/sum.json", "data/samples/new/first.parquet"])
def test_an_input_that_is_not_there_is_named_and_nothing_is_written(folder, path):
    (folder / path).unlink()
    with pytest.raises(MissingDataError, match=path.replace(".", r"\.")):
        report(folder)
    assert not (folder / "report").exists()


def test_a_file_that_is_no_json_is_named(folder):
    (folder / "metrics/merges/sum.json").write_text("{", encoding="utf-8")
    with pytest.raises(RecordError, match=r"metrics/merges/sum\.json: not valid JSON"):
        report(folder)


def test_the_grid_has_the_references_row_above_the_subjects(folder):
    report(folder)
    grid = Image.open(folder / "report/grid.png").convert("RGB")
    rows = [GRID_TOP_PX + 4 * 13 + row * (CELL_PX + 15 + 16) for row in range(2)]
    upper, lower = (grid.getpixel((GRID_RIGHT_PX + SQUARE_PX, y)) for y in rows)
    assert upper[0] > upper[2] + 50  # the old model's red
    assert lower[2] > lower[0] + 50  # the new model's blue
    top = GRID_TOP_PX + CELL_PX // 2 - 7
    for name, row in (("old", 0), ("new", 1)):
        label = Image.new("RGB", (GRID_RIGHT_PX - 16, 20), "white")
        font = ImageFont.load_default(size=12)
        ImageDraw.Draw(label).text((0, 0), name, fill=(27, 31, 36), font=font)
        place = (16, top + row * (CELL_PX + 15 + 16))
        drawn_label = grid.crop((*place, GRID_RIGHT_PX, place[1] + 20))
        assert drawn_label.crop((0, 0, 50, 20)).tobytes() == label.crop((0, 0, 50, 20)).tobytes()


def test_all_is_read_from_and_written_to_the_folders_of_the_arguments(folder):
    page = report(folder)
    grid = (folder / "report/grid.png").read_bytes()
    places = "--data copy/data --metrics copy/metrics --curves copy/plots/loss --out copy/report"
    assert report(folder, places=places, moved=True) == page
    assert (folder / "copy/report/grid.png").read_bytes() == grid
