"""`selma correct` and `selma edit` on untrained models: files, errors, resuming, replays."""

import json

import pytest
from chat_server import completion, serving
from correct_command import LAYOUT, WHOLE, correct, entry, files, look, run, trace
from PIL import Image

from selma.correction.folders import read_picture

pytestmark = pytest.mark.filterwarnings("ignore:.*GLIGEN.*deprecated:FutureWarning")
GOOD = [
    entry("plain", "one", "<b>a red cat</b>", generator="dalle"),
    entry("sub/clear", "two/deep"),
    entry("grey", "three", generator=None),
]
BAD = [
    entry("../in/plain", "bad-1"), entry("plain", "/tmp/bad"), entry("nothing", "bad-3"),
    entry("broken", "bad-4"), entry("plain", "one"), entry("plain", "index.html"),
    entry("plain", "bad-7", llm_layout_suggestions=[["red cat", [0, 0, 1, 1]]]),
    entry("plain", "bad-8", llm_layout_suggestions=[
        [f"cat #{n}", [0, 0, 0.1, 0.1]] for n in range(1, 32)
    ]),
    entry("plain", "bad-9", llm_parsed_prompt={"objects": "cat"}), {"prompt": "a red cat"},
    entry("plain", "bad-11", steps=3),
]  # fmt: skip


def test_good_entries_are_worked_off_and_bad_ones_are_a_line_each(place, capsys):
    code, out, errors = correct(capsys, [*GOOD, *BAD], "--keep", "all")
    assert code == 2 and len(errors) == len(BAD)
    for number, line in enumerate(errors, start=len(GOOD) + 1):
        assert f"data.json: entry {number}: " in line
    words = (
        "'..'",
        "'/tmp/bad'",
        "no such picture",
        "no picture that can be read",
        "entry 1 too",
        "a file's name",
        "'dog #1'",
        "31 objects",
        "llm_parsed_prompt",
        "input_fname",
        "'steps'",
    )
    assert [word for word, line in zip(words, errors, strict=True) if word not in line] == []
    assert not [one for one in place.rglob("bad-*")]
    sizes = {"one": (32, 32), "two/deep": (48, 24), "three": (20, 40)}
    for (folder, size), stem in zip(sizes.items(), ("plain", "clear", "grey"), strict=True):
        home = place / "out" / folder
        assert {p.name for p in home.iterdir() if p.is_file()} == WHOLE | {
            f"intermediate_{stem}.png", f"final_{stem}.png"
        }  # fmt: skip
        first, last = (look(home / n) for n in ("initial_image.png", f"final_{stem}.png"))
        assert (first.size, first.mode, last.size, last.mode) == (size, "RGB", size, "RGB")
        told = trace(home)
        assert told["verdict"] == "edited" and told["llm"] == [] and told["kept"] == "result"
        assert look(home / "det_result_obj.png").size == (900, 500)
    clear = look(place / "out/two/deep/initial_image.png").getpixel((0, 0))
    assert clear == pytest.approx((235.6, 165, 165), abs=1)  # 90 of 255 red on white
    assert sum("edited" in line for line in out) == 3
    page = (place / "out/index.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;a red cat&lt;/b&gt;" in page and "<b>a red cat" not in page
    assert 'src="two/deep/final_clear.png"' in page and page.count("refused") >= len(BAD)


def test_what_is_done_is_not_done_again_and_a_killed_run_ends_in_the_same_bytes(place, capsys):
    assert correct(capsys, GOOD[:2], "--keep", "all")[0] == 0
    whole = files(place / "out")
    kept = (place / "out/one/final_plain.png").stat().st_mtime_ns
    (place / "out/two/deep/trace.json").unlink()  # it comes last
    (place / "out/two/deep/final_clear.png").write_bytes(b"half")
    assert correct(capsys, GOOD[:2], "--keep", "all")[0] == 0
    assert files(place / "out") == whole
    assert (place / "out/one/final_plain.png").stat().st_mtime_ns == kept
    correct(capsys, GOOD[:2], "--keep", "fixed_or_original")
    final = read_picture(place / "out/one/final_plain.png")
    assert final.tobytes() == read_picture(place / "in/plain.png").tobytes()
    correct(capsys, GOOD[:1], "--keep", "passing")
    assert not (place / "out/one/final_plain.png").exists()


def answer(body):
    asked = body["messages"][0]["content"].split("User Prompt: ")[-1]
    if "nonsense" in asked:
        return 200, completion("I see no objects.")
    if "Current Objects" in asked:
        return 200, completion(f"Updated Objects: {LAYOUT}")
    return 200, completion("Objects: [('cat', ['red'])]\nBackground: a yard\nNegation:")


ONE = ("--picture", "in/plain.png", "--out", "out", "--keep", "all")


def test_one_picture_is_asked_about_once_and_replayed(place, capsys, monkeypatch):
    with serving(monkeypatch, answer) as server:
        code, out, errors = run(capsys, "correct", *ONE, "--prompt", "a red cat")
        assert (code, errors) == (0, []) and len(server.requests) == 2
        assert run(capsys, "correct", *ONE, "--prompt", "a red cat")[0] == 0
        assert len(server.requests) == 2
    assert out[0].startswith("plain: edited: ")
    first = files(place / "out")
    assert {"final_plain.png", "trace.json", "index.html", "replies.jsonl"} <= set(first)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    replies = ("--replies", "out/replies.jsonl", "--out", "again", "--backend", "replay")
    assert run(capsys, "correct", *ONE, "--prompt", "a red cat", *replies)[0] == 0
    for name in ("final_plain.png", "intermediate_plain.png", "det_result_obj.png"):
        assert (place / "again" / name).read_bytes() == first[name]
    code, _, errors = run(capsys, "edit", *ONE, "--prompt", "make the cat red", *replies)
    assert code == 3 and "the transcript has no reply" in errors[0]


def test_a_reply_that_cannot_be_read_is_a_verdict_and_an_llm_that_is_away_an_error(
    place, capsys, monkeypatch
):
    with serving(monkeypatch, answer):
        code, out, errors = run(capsys, "correct", *ONE, "--prompt", "nonsense")
        assert (code, errors) == (4, []) and out[0].startswith("plain: failed (")
    with serving(monkeypatch, lambda body: (401, {"error": {"message": "no"}})):
        code, _, errors = run(capsys, "correct", *ONE, "--prompt", "a blue cat")
        assert code == 4 and len(errors) == 1 and "some-llm" in errors[0]


def test_plans_are_told_without_an_editor(place, capsys):
    (place / "models/pocket").unlink()
    (place / "models").rmdir()
    code, out, errors = correct(capsys, GOOD[:1], "--plan-only")
    assert code == 3 and "models/pocket/detector" in errors[0]


def test_a_plan_alone_leaves_the_picture(place, capsys):
    off = ("--plan-only", "--set", "editor.path=models/none")
    code, out, _ = correct(capsys, GOOD[:1], *off, command="edit")
    assert code == 0 and out[0].startswith("one: planned: ") and "red cat #1" in out[0]
    assert "  round 1, suggested: red cat #1 0 0 0.5 0.5" in out
    assert {path.name for path in (place / "out/one").iterdir()} == WHOLE
    assert trace(place / "out/one")["mode"] == "edit"


def test_a_picture_is_drawn_first_where_that_is_asked_for(place, capsys, monkeypatch):
    with serving(monkeypatch, answer):
        drawn = ("--draw", "--out", "out", "--prompt", "a red cat", "--keep", "all")
        assert run(capsys, "correct", *drawn)[0] == 0
        first = files(place / "out")
        assert run(capsys, "correct", *drawn)[0] == 0
    assert files(place / "out") == first
    assert look(place / "out/final_drawn.png").size == (32, 32)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--prompt", "x"], "expected just one of: --json-file and --input-dir"),
        (["--picture", "in/plain.png"], "expected just one of"),
        (["--json-file", "data.json", "--prompt", "x"], "expected just one of"),
        (["--draw", "--picture", "in/plain.png", "--prompt", "x"], "expected just one of"),
        (["--picture", "in/plain.png", "--prompt", " "], "--prompt: expected a text"),
        (["--draw", "--prompt", "x", "--generator", "sdxl"], "--generator: is for --picture"),
        (["--picture", "in/broken.png", "--prompt", "x"], "no picture that can be read"),
        (["--draw", "--prompt", "x", "--set", "detector"], "expected KEY=VALUE"),
        (["--draw", "--prompt", "x", "--set", "keep.a=1"], "keep holds no keys"),
        (["--draw", "--prompt", "x", "--keep", "most"], "correct.keep"),
        (["--draw", "--prompt", "x", "--set", "editor.path=none"], "none: no such file"),
    ],
)
def test_a_wrong_command_line_is_one_line(place, capsys, arguments, words):
    code, _, errors = run(capsys, "correct", *arguments, "--out", "out")
    assert code in (2, 3) and len(errors) == 1 and words in errors[0]
    assert not (place / "out").exists()


def test_pictures_of_the_benchmark_are_scored_by_a_named_detector(place, capsys):
    for number in (0, 1, 100):
        (place / f"lmd/{number:03d}").mkdir(parents=True)
        Image.new("RGB", (32, 32), "navy").save(place / f"lmd/{number:03d}/initial_image.jpg")
    given = ("score", "lmd", "--images", "lmd", "--detector", "owlv2", "--detector-path",
             "models/pocket/detector", "--attribution", "1", "--others", "1")  # fmt: skip
    code, _, errors = run(capsys, *given)
    assert code == 3 and "397 of 400 pictures are missing (002, 003" in errors[0]
    code, out, _ = run(capsys, *given, "--allow-partial", "--out", "score.json")
    found = json.loads((place / "score.json").read_text(encoding="utf-8"))
    assert code == 0 and out[0].startswith(f"LMD: {found['score']:.2f} %")
    assert found["detector"]["kind"] == "owlv2" and len(found["detector"]["sha256"]) == 64
    assert found["thresholds"] == {"attribution": 1.0, "others": 1.0, "nms_iou": 0.15}
    assert found["categories"]["negation"]["distinct_prompts"] == 1
    assert set(found["categories"]) == {"negation", "numeracy"}
