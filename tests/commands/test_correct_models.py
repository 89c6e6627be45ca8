"""Every real class, tiny and untrained, corrects a picture from `selma correct` to its files."""

import json
import shutil

import numpy as np
import pytest
from correct_command import WHOLE, correct, look, trace
from PIL import Image
from scipy.ndimage import binary_dilation
from tiny_world import (
    ROOT,
    correct_section,
    inpaint_editor,
    read_yaml,
    tiny_params,
    write_params,
)

from selma.correction.layout import Box
from selma.correction.segmenters.loading import load_segmenter
from selma.diffusion.tiny import write_tiny_gated

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*GLIGEN.*deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning"),  # diffusers with numpy 2
]

SIZE = (40, 32)  # of the picture; the models draw 32×32
SEEN = 0.05  # a score that counts as seen
# What looks, what finds pixels, which editor, on which inpainting model.
CLASSES = {
    "latent": ("owlv2", "sam", "latent", None),
    "inpaint": ("grounding_dino", "sam2", "inpaint", "sd1-9"),
    "inpaint of SDXL": ("sam3", "sam", "inpaint", "sdxl-9"),
}
NOUNS = ("cat", "dog", "apple")
SCENE = {"objects": [[noun, [None]] for noun in NOUNS], "bg_prompt": "a yard", "neg_prompt": "fog"}
NEW, ADDED = [0.05, 0.5, 0.25, 0.25], [0.5, 0.0, 0.25, 0.25]


@pytest.fixture(scope="session")
def gated(tmp_path_factory):
    """A folder with a tiny Stable Diffusion 1.4 with GLIGEN's gated layers."""
    folder = tmp_path_factory.mktemp("gated") / "gated"
    write_tiny_gated(folder, prediction_type="epsilon", latent_size=(8, 8))
    return folder


@pytest.fixture
def use(tmp_path, monkeypatch, tiny_folder, tiny_inpainting, gated):
    """A function that writes params.yaml for some classes, in a folder with a picture."""
    (tmp_path / "in").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "in/noise.png")
    monkeypatch.chdir(tmp_path)

    def write(detector, segmenter, editor, model):
        section = correct_section()
        section["detector"] |= {
            "kind": detector, "path": str(tiny_folder(detector)), "nms_iou": 0.01,
            "attribute": SEEN, "primitive": SEEN,
        }  # fmt: skip
        section["segmenter"] |= {"kind": segmenter, "path": str(tiny_folder(segmenter))}
        if editor == "inpaint":
            section["editor"] = inpaint_editor(tiny_inpainting / model)
        else:
            section["editor"] = read_yaml(ROOT / "presets/sdxl.yaml")["correct"]["editor"]
            section["editor"] |= {"path": str(gated), "inference_steps": 4}
            section["editor"]["attention"] |= {"iterations": [1, 1], "stop_below": 0.0}
        write_params(tmp_path, tiny_params(correct=section))
        return tmp_path

    return write


def entry(out, goal):
    given = {"llm_parsed_prompt": SCENE, "llm_layout_suggestions": goal}
    return {"input_fname": "noise", "output_dir": out, "prompt": "a cat and a dog", **given}


def seen(home, capsys):
    """What the detector sees in the picture, as a plan's trace tells it."""
    code, _, errors = correct(capsys, [entry("seen", [])], "--plan-only")
    assert (code, errors) == (0, [])
    return trace(home / "out/seen")["before"]["layout"]


def goals(layout):
    """Layouts that take one operation of each kind, and an addition alone."""
    removed, moved, changed, *kept = layout
    every = [[moved[0], NEW], [f"red {changed[0]}", changed[1]], *kept, ["owl #1", ADDED]]
    return {"every": every, "added": [*layout, ["owl #1", ADDED]]}


def area(box):
    mask = np.zeros((SIZE[1], SIZE[0]), dtype=bool)
    x, y, width, height = (value * side for value, side in zip(box, SIZE * 2, strict=True))
    mask[int(y) : round(y + height), int(x) : round(x + width)] = True
    return mask


def extent(segmenter, path, picture, layout):
    """Which pixels must differ where every operation was carried out, and which must not."""
    finder = load_segmenter(segmenter, path, dtype="float32", device="cpu")
    found = finder.segment(picture, [Box(*box) for _, box in layout])
    removed, moved, changed, *kept = (one.masks.any(axis=0) for one in found)
    spared = grown(np.any([changed, *kept], axis=0))
    touched = grown(removed | moved | changed | area(NEW)) | area(ADDED)
    return changed | ((removed | moved) & ~spared), ~touched


def grown(mask):
    return binary_dilation(mask, np.ones((3, 3)))


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_carries_out_every_operation(use, tiny_folder, capsys, name):
    home = use(*CLASSES[name])
    layout = seen(home, capsys)
    wanted = goals(layout)
    code, out, errors = correct(
        capsys, [entry(place, goal) for place, goal in wanted.items()], "--keep", "all"
    )
    assert (code, errors) == (0, []) and len(out) == len(wanted) + 1
    before, different = look(home / "in/noise.png"), {}
    for place in wanted:
        folder = home / "out" / place
        names = {"intermediate_noise.png", "final_noise.png"}
        assert {path.name for path in folder.iterdir()} == WHOLE | names
        after, told = look(folder / "final_noise.png"), trace(folder)
        assert (after.size, after.mode) == (SIZE, "RGB")
        assert (told["verdict"], told["kept"], told["llm"]) == ("edited", "result", [])
        assert told["before"]["layout"] == layout and told["before"]["detections"]
        different[place] = (np.asarray(before) != np.asarray(after)).any(axis=2)
        assert different[place][area(ADDED)].mean() > 0.9
    check_operations(home, layout)
    _, segmenter, editor, _ = CLASSES[name]
    if editor == "inpaint":  # it alone promises to leave the rest
        assert not (different["added"] & ~area(ADDED)).any()
        redrawn, free = extent(segmenter, tiny_folder(segmenter), before, layout)
        assert free.mean() > 0.05 and not (different["every"] & free).any()
        assert different["every"][redrawn].mean() > 0.9


def check_operations(home, layout):
    """Check that traces name each operation, and that files count them."""
    (removed, _), (moved, _), (changed, _), *kept = layout
    every, added = (trace(home / "out" / place) for place in ("every", "added"))
    assert every["operations"] == {"remove": 1, "add": 1, "move": 1, "attribute": 1}
    assert added["operations"] == {"remove": 0, "add": 1, "move": 0, "attribute": 0}
    (turn,) = every["rounds"]
    assert turn["plan"] == {
        "preserve": [[name, name] for name, _ in kept], "remove": [removed], "add": ["owl #1"],
        "move": [[moved, moved]], "attribute": [[changed, f"red {changed}"]],
    }  # fmt: skip
    assert {kind: found["asked"] for kind, found in turn["edit"].items()} == {
        "preserve": len(kept), "remove": 1, "add": 1, "move": 1, "attribute": 1,
    }  # fmt: skip


LONG = " ".join(f"word{number}" for number in range(300))
ODD = {"one": (1, 1), "tall": (2, 90), "wide": (90, 2)}  # width, height


@pytest.mark.parametrize("name", CLASSES)
def test_long_prompts_and_odd_pictures_are_edited_by_every_class(use, capsys, name):
    home = use(*CLASSES[name])
    for stem, size in ODD.items():
        Image.new("L", size, 90).save(home / f"in/{stem}.png")
    scene = {"objects": [["cat", [None]], [LONG, [None]]], "bg_prompt": LONG, "neg_prompt": LONG}
    goal = [[f"{LONG} #99", [0.0, 0.0, 1.0, 1.0]]]
    given = [
        {**entry(stem, goal), "input_fname": stem, "prompt": LONG, "llm_parsed_prompt": scene}
        for stem in ("noise", *ODD)
    ]
    code, _, errors = correct(capsys, given, "--keep", "all")
    assert (code, errors) == (0, [])
    for stem, size in {"noise": SIZE, **ODD}.items():
        told = trace(home / "out" / stem)
        assert told["verdict"] == "edited" and told["operations"]["add"] == 1
        final = look(home / "out" / stem / f"final_{stem}.png")
        assert (final.size, final.mode) == (size, "RGB")


@pytest.mark.parametrize("editor", ["latent", "inpaint"])
def test_a_checkpoint_whose_gated_layers_would_be_dropped_is_refused_by_name(
    use, gated, capsys, tmp_path, editor
):
    home = use("owlv2", "sam", editor, "sd1-9")
    folder = shutil.copytree(gated, tmp_path / "said-to-be-plain")
    changes = {
        "model_index.json": {"_class_name": "StableDiffusionPipeline"},
        "unet/config.json": {"attention_type": "default", "use_gated_attention": True},
    }
    for name, change in changes.items():
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
    given = [entry("one", [["owl #1", ADDED]])]
    code, _, errors = correct(capsys, given, "--set", f"editor.path={folder}")
    assert code == 4 and len(errors) == 1
    assert str(folder) in errors[0] and "gated layers" in errors[0] and "fuser" in errors[0]
    assert not (home / "out").exists()
