"""A world that shares no model, benchmark or LLM with the pocket one, written to a folder."""

import random
import re
from pathlib import Path

from chat_server import completion
from tiny_world import MERGE, tiny_params

MODELS = Path("models/mine")
SKILL = """\
version: 1
skill: {name}
words: {{min: 1, max: 25}}
instructions: Write prompts about {name}, as short as you can.
seed_prompts:
  - {name} over the hills
  - an old picture of {name}
  - the sound of {name} at night
"""


def write_models(folder):
    """A Stable Diffusion 1, two judges and two scorers of the real classes, untrained."""
    from selma.diffusion.tiny import write_tiny_backbone
    from selma.tiny.blip2 import write_blip2
    from selma.tiny.mplug import write_mplug
    from selma.tiny.scorers import write_clip, write_hps

    home = folder / MODELS
    write_tiny_backbone("sd1", home / "sd")
    write_mplug(home / "some-mplug", seed=3, leaning=20)
    write_blip2(home / "some-blip2")
    write_clip(home / "pickscore")
    write_hps(home / "hps", "v2.1")


def write_skills(folder):
    """Two skills; the file of one lies elsewhere."""
    for path in (folder / "data/skills/weather.yaml", folder / "mine/cooking.yaml"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SKILL.format(name=path.stem))


def params():
    """Everything that the world is, said by params.yaml alone."""
    values = tiny_params(images={"per_prompt": 1}, samples={"per_prompt": 1})
    values["backbone"] = {"path": str(MODELS / "sd"), "dtype": "float32"}
    for name in ("detector", "editor"):  # corrections are off
        values["correct"][name]["path"] = "selma/correction"
    values["llm"] |= {"backend": "openai", "model": "some-llm", "revision": "2024-05"}
    own = {"prompts": {}, "images": {}, "lora": {}}
    values["skills"] = {
        "weather": {"instructions": "data/skills/weather.yaml", **own},
        "cooking": {"instructions": "mine/cooking.yaml", **own},
    }
    weights = {"weather": 1.0, "cooking": 1.0}
    values["merges"] = {"both": {**MERGE, "weights": weights}}
    values["mixtures"] = {"joint": {"skills": ["weather", "cooking"], "lora": {}}}
    values["models"] = {
        "stock": {"weights": str(MODELS / "sd")},
        "taught": {"weights": "models/merged/both.safetensors"},
        "rival": {"weights": "models/mixtures/joint.safetensors"},
    }
    values["benchmarks"] = {"dsg1k": {}, "tifa": {}}
    judge = {**values["judges"]["pocket"], "revision": None, "questions_per_batch": 3}
    judge |= {"batch_size": 2, "max_new_tokens": 5, "normalise": "first-word"}
    values["judges"] = {
        name: {**judge, "kind": name, "path": str(MODELS / f"some-{name}")}
        for name in ("mplug", "blip2")
    }
    values["answers"] = {
        "by_mplug": {"judge": "mplug", "benchmark": "dsg1k", "template": "bare"},
        "by_blip2": {"judge": "blip2", "benchmark": "tifa", "template": "tifa-selma"},
    }
    dsg, tifa = values["measures"]["dsg"], values["measures"]["tifa"]
    values["measures"] = {
        "faithful": {**dsg, "answers": "by_mplug", "title": "DSG by mPLUG", "no_answer_max": 1.0},
        "elements": {
            **tifa,
            "answers": "by_blip2",
            "title": "TIFA by BLIP-2",
            "no_answer_max": 1.0,
        },
    }
    scorer = {**values["preferences"]["hps"], "benchmark": "dsg1k"}
    values["preferences"] = {
        "liked": {**scorer, "kind": "pickscore", "title": "PickScore", "version": None,
                  "path": str(MODELS / "pickscore")},
        "human": {**scorer, "version": "v2.1", "path": str(MODELS / "hps")},
    }  # fmt: skip
    values["sources"] = {"own": values["sources"]["self"]}
    values["images"]["source"] = "own"
    liked = {**values["raters"]["pickscore"], "path": str(MODELS / "pickscore")}
    values["raters"] = {"liked": liked}
    values["compare"] |= {"subject": "taught", "reference": "stock", "against": ["rival"]}
    values["report"]["measure"] = "faithful"
    return values


def llm(body):
    """Answer a request with a list of new prompts, as it and its seed decide."""
    asked = body["messages"][0]["content"]
    rng = random.Random(f"{body['seed']} {asked}")
    number = int(re.search(r"Write (\d+) new", asked)[1])
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = lambda: " ".join("".join(rng.sample(letters, 5)) for _ in range(4))  # noqa: E731
    listed = "\n".join(f"{place}. {words()}" for place in range(1, number + 1))
    return 200, completion(listed)
