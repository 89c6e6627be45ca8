"""`selma correct` on bad replies, pictures, names and prompts: a verdict or one clear line each."""

import json

import numpy as np
import pytest
from chat_server import completion, serving
from correct_command import LAYOUT, correct, entry, files, look, run, trace
from malformed_replies import LAYOUTS, SCENES
from PIL import Image
from tiny_world import inpaint_editor

pytestmark = pytest.mark.filterwarnings("ignore:.*GLIGEN.*deprecated:FutureWarning")
ASKED = {"llm_parsed_prompt": None, "llm_layout_suggestions": None}
GOOD_SCENE = completion("Objects: [('cat', ['red'])]\nBackground: a yard\nNegation:")
GOOD_LAYOUT = completion(f"Updated Objects: {LAYOUT}")


def answer(body):
    """Reply as well as the picture's prompt says, which is a kind of malformed reply or "good"."""
    prompt, *rest = body["messages"][0]["content"].split("User Prompt: ")[-1].split("\n")
    if any(line.startswith("Current Objects") for line in rest):
        return 200, completion(LAYOUTS[prompt].reply) if prompt in LAYOUTS else GOOD_LAYOUT
    return 200, completion(SCENES[prompt].reply) if prompt in SCENES else GOOD_SCENE


def test_malformed_replies_are_verdicts_and_the_other_pictures_are_corrected(
    place, capsys, monkeypatch
):
    kinds = {**LAYOUTS, **SCENES}
    good = [entry("plain", f"good-{n}", "good", **ASKED) for n in range(2)]
    bad = [entry("plain", f"bad-{n}", kind, **ASKED) for n, kind in enumerate(kinds)]
    once = ("--keep", "all", "--retries", "1")
    with serving(monkeypatch, answer):
        code, out, errors = correct(capsys, [good[0], *bad, good[1]], *once)
    assert (code, errors) == (4, []) and len(out) == len(bad) + 3
    for number, (kind, malformed) in enumerate(kinds.items()):
        found = trace(place / f"out/bad-{number}")
        wanted = "failed" if malformed.reason else "edited"
        assert (kind, found["verdict"]) == (kind, wanted)
        assert malformed.reason in found["failure"]
        assert sum("failed" in line for line in out if f"bad-{number}:" in line) == (
            1 if malformed.reason else 0
        )
        final = look(place / f"out/bad-{number}/final_plain.png")
        same = final.tobytes() == look(place / "in/plain.png").tobytes()
        assert same is bool(malformed.reason)
    assert not list(place.rglob("*owned*"))
    page = (place / "out/index.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;unicorn" in page and "<b>unicorn" not in page
    whole = files(place / "out")
    with serving(monkeypatch, answer):
        assert correct(capsys, good, *once, "--out", "alone")[0] == 0
    for name, data in files(place / "alone").items():
        assert not name.startswith("good") or whole[name] == data


def noise(width, height, mode="RGB"):
    """A picture in which the untrained detector is certain of nothing."""
    values = np.random.default_rng(0).integers(90, 160, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values).convert(mode)


def write_pictures(folder):
    """Write pictures of many modes and sizes; what `selma correct` shall see, RGB, by stem."""
    seen = {}
    Image.new("1", (20, 28), 1).save(folder / "mode-1.png")
    seen["mode-1"] = Image.new("RGB", (20, 28), "white")
    for mode in ("L", "P", "LA", "RGBA"):
        noise(20, 28, mode).save(folder / f"mode-{mode}.png")
        seen[f"mode-{mode}"] = noise(20, 28, mode).convert("RGBA").convert("RGB")
    clear = noise(20, 28, "P")
    clear.info["transparency"] = clear.getpixel((0, 0))
    clear.save(folder / "palette.png")
    own = noise(20, 28, "P").convert("RGB")
    white = np.asarray(noise(20, 28, "P")) == clear.getpixel((0, 0))
    seen["palette"] = Image.fromarray(np.where(white[..., None], 255, np.asarray(own)))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    noise(20, 28).save(folder / "turned.png", exif=exif)
    seen["turned"] = noise(20, 28).transpose(Image.Transpose.ROTATE_270)
    for size in ((1, 1), (3, 200), (200, 3)):
        name = f"size-{size[0]}x{size[1]}"
        noise(*size).save(folder / f"{name}.png")
        seen[name] = noise(*size)
    noise(20, 28, "CMYK").save(folder / "print.jpg")
    seen["print"] = look(folder / "print.jpg").convert("RGB")
    return {name: np.asarray(picture.convert("RGB")) for name, picture in seen.items()}


def test_pictures_of_every_mode_and_size_are_edited_in_their_box_alone(place, capsys):
    seen = write_pictures(place / "in")
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(place / "in/deep.png")
    whole = (place / "in/mode-L.png").read_bytes()
    (place / "in/cut.png").write_bytes(whole[: len(whole) // 2])
    (place / "in/empty.png").touch()
    bad = ("deep", "cut", "empty", "none")
    given = [entry(name, name) for name in (*seen, *bad)]
    editor = json.dumps(inpaint_editor("models/pocket/base"))
    code, out, errors = correct(capsys, given, "--keep", "all", "--set", f"editor={editor}")
    assert code == 2 and len(out) == len(seen) + 1
    for name, line in zip(bad, errors, strict=True):
        assert f"in/{name}.png: no " in line
    for name, pixels in seen.items():
        first, last = (
            np.asarray(look(place / "out" / name / file))
            for file in ("initial_image.png", f"final_{name}.png")
        )
        np.testing.assert_array_equal(first, pixels, err_msg=name)
        height, width = pixels.shape[:2]
        beyond = np.ones((height, width), dtype=bool)
        beyond[: -(-height // 2), : -(-width // 2)] = False  # the box is the top left quarter
        np.testing.assert_array_equal(last[beyond], first[beyond], err_msg=name)
        assert (name, trace(place / "out" / name)["operations"]["add"]) == (name, 1)


LONG = " ".join(f"word{number}" for number in range(300))


def test_a_prompt_of_300_words_is_read_and_edited_by(place, capsys, monkeypatch):
    sent = []

    def echo(body):
        sent.append(body["messages"][0]["content"])
        if "Current Objects" in sent[-1].split("User Prompt: ")[-1]:
            return 200, completion(f"Updated Objects: [('{LONG} #1', [0, 0, 0.5, 0.5])]")
        return 200, completion(f"Objects: [('{LONG}', [None])]\nBackground: {LONG}\nNegation: no")

    given = [entry("plain", "long", LONG, **ASKED), entry("plain", "short")]
    with serving(monkeypatch, echo):
        code, _, errors = correct(capsys, given, "--keep", "all")
    assert (code, errors) == (0, []) and all(LONG in text for text in sent)
    for name in ("long", "short"):
        assert trace(place / "out" / name)["verdict"] == "edited"
    assert trace(place / "out/long")["scene"]["bg_prompt"] == LONG


BAD = {
    "names that go up": ({"input_fname": "../in/plain"}, "is no name inside a folder"),
    "places that go up": ({"output_dir": "a/../../bad"}, "is no name inside a folder"),
    "a name that is too long": ({"input_fname": "x" * 300}, "too long a name"),
    "a place that is too long": ({"output_dir": "é" * 101}, "too long a name"),
    "a path that is too long": ({"output_dir": "/".join(["y" * 190] * 30)}, "File name too long"),
    "half a surrogate pair": ({"prompt": "a \ud800"}, "no UTF-8"),
    "a box outside": ({"llm_layout_suggestions": [["cat #1", [1.0, 0, 1, 1]]]}, "lies outside"),
    "NaN": ({"llm_layout_suggestions": [["cat #1", [float("nan"), 0, 1, 1]]]}, "is no number"),
    "a number without end": ({"llm_layout_suggestions": [["cat #1", [10**400, 0, 1, 1]]]},
                             "is no number"),
    "31 objects": ({"llm_parsed_prompt": {"objects": [["cat", [None] * 31]], "bg_prompt": ""}},
                   "31 objects are too many"),
}  # fmt: skip


def test_bad_entries_are_a_line_each_and_the_others_are_worked_off(place, capsys):
    bad = [{**entry("plain", f"bad-{n}"), **change} for n, (change, _) in enumerate(BAD.values())]
    code, out, errors = correct(capsys, [entry("plain", "first"), *bad, entry("plain", "last")])
    assert code == 2 and len(errors) == len(bad)
    for number, ((_, words), line) in enumerate(zip(BAD.values(), errors, strict=True), start=2):
        assert f"data.json: entry {number}: " in line and words in line
    assert {p.name for p in (place / "out").iterdir()} == {"first", "last", "index.html"}
    assert (place / "out/first/trace.json").exists() and (place / "out/last/trace.json").exists()


def test_a_prompt_of_the_command_line_that_is_no_utf8_is_one_line(place, capsys):
    given = ("--picture", "in/plain.png", "--out", "out", "--prompt", "a \udcff cat")
    code, _, errors = run(capsys, "correct", *given)
    assert code == 2 and len(errors) == 1 and "no UTF-8" in errors[0]
    assert not (place / "out").exists()


@pytest.mark.parametrize("text", ["[" * 100_000, "{", '"a"', json.dumps({"input_fname": "plain"})])
def test_a_file_that_is_no_list_of_entries_is_one_line(place, capsys, text):
    (place / "own.json").write_text(text, encoding="utf-8")
    given = ("--json-file", "own.json", "--input-dir", "in", "--out", "out")
    code, _, errors = run(capsys, "correct", *given)
    assert code == 2 and len(errors) == 1 and "own.json" in errors[0]
