"""A world that shares no model, benchmark or LLM with the pocket one, written to a folder."""

import csv
import importlib.util
import json
import random
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tiny_world import tiny_params

sys.path.append(str(Path(__file__).parent / "judges"))
MODELS = Path("models/mine")
DSG = {
    "vrd_0": ("a red cat left of a blue dog", "entity", [
        ("Is there a cat?", "0"), ("Is there a dog?", "0"), ("Is the cat red?", "1"),
        ("Is the dog blue?", "2"), ("Is the cat left?", "1,2")]),
    "vrd_1": ("two dogs under a tree", "entity", [
        ("Is there a dog?", "0"), ("Is there a tree?", "0"), ("Is the dog under it?", "1,2")]),
    "countbench_0": ("two red cars", "attribute", [
        ("Is there a car?", "0"), ("Is the car red?", "1"), ("Is there one of two?", "1")]),
    "countbench_1": ("three yellow birds on a car", "attribute", [
        ("Is there a bird?", "0"), ("Is the bird yellow?", "1")]),
}  # fmt: skip
TIFA = {
    "coco_1": ("a cat on a car", [
        ("is there a cat?", ["yes", "no"], "yes"),
        ("what is on the car?", ["cat", "dog", "bird"], "cat")]),
    "coco_2": ("a white dog", [("what colour is the dog?", ["white", "red", "blue"], "white")]),
    "paintskill_1": ("two birds", [("is there a bird?", ["yes", "no"], "no")]),
}  # fmt: skip
SKILL = """\
version: 1
skill: {name}
instructions: Write prompts about {name}, as short as you can.
seed_prompts:
  - {name} over the hills
  - an old picture of {name}
  - the sound of {name} at night
"""


def beside(path):
    """Load a conftest of another folder of tests, for what it builds."""
    spec = importlib.util.spec_from_file_location(
        path.replace("/", "_"), Path(__file__).parent / path
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_models(folder):
    """A Stable Diffusion 1, two judges and two scorers of the real classes, untrained."""
    from tiny import write_blip2
    from tiny_mplug import VOCABULARY, save, write_mplug

    scorers = beside("scorers/conftest.py")
    home = folder / MODELS
    beside("diffusion/conftest.py").build_pipeline().save_pretrained(home / "sd")
    weights = write_mplug(home / "some-mplug", seed=1)
    for copied in ("", "_m"):
        bias = weights[f"text_decoder{copied}.cls.predictions.bias"]
        bias[[VOCABULARY.index("yes"), VOCABULARY.index("no")]] += 12  # it repeats one of them
    save(weights, home / "some-mplug")
    write_blip2(home / "some-blip2")
    scorers._write_clip(home / "pickscore")
    scorers._write_hps(home / "hps", "v2.1")
    (home / "HPS.pt").unlink()


def write_public_files(folder):
    """Files in the public formats of DSG-1k and TIFA v1.0; returns their paths."""
    folder.mkdir()
    columns = ["item_id", "text", "keywords", "proposition_id", "dependency", "category_broad"]
    columns += ["category_detailed", "tuple", "question_natural_language"]
    with (folder / "dsg-1k-anns.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(columns)
        for item, (text, kind, questions) in DSG.items():
            for number, (question, dependency) in enumerate(questions, start=1):
                element = f"{kind} - whole ({number})"
                rows.writerow(
                    [item, text, "-", number, dependency, kind, "whole", element, question]
                )
    entries = [
        {"id": item, "caption": text, "question": question, "choices": choices, "answer": answer,
         "element_type": "object", "element": "x"}
        for item, (text, questions) in TIFA.items()
        for question, choices, answer in questions
    ]  # fmt: skip
    (folder / "tifa_v1.0_question_answers.json").write_text(json.dumps(entries))
    return folder / "dsg-1k-anns.csv", folder / "tifa_v1.0_question_answers.json"


def write_skills(folder):
    """Two skills; the file of one lies elsewhere."""
    for path in (folder / "data/skills/weather.yaml", folder / "mine/cooking.yaml"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SKILL.format(name=path.stem))


def params():
    """Everything that the world is, said by params.yaml alone."""
    values = tiny_params(images={"per_prompt": 1}, samples={"per_prompt": 1})
    values["backbone"] = {"path": str(MODELS / "sd"), "dtype": "float32"}
    values["prompts"] |= {"backend": "openai", "model": "some-llm", "revision": "2024-05"}
    own = {"prompts": {}, "images": {}, "lora": {}}
    values["skills"] = {
        "weather": {"instructions": "data/skills/weather.yaml", **own},
        "cooking": {"instructions": "mine/cooking.yaml", **own},
    }
    weights = {"weather": 1.0, "cooking": 1.0}
    values["merges"] = {"both": {"method": "delta_mean", "scale": 1.0, "weights": weights}}
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
    values["compare"] |= {"subject": "taught", "reference": "stock", "against": ["rival"]}
    values["report"]["measure"] = "faithful"
    return values


class Llm(ThreadingHTTPServer):
    """Answers chat completions with lists of new prompts, as the request and its seed decide."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests = []

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=[0.01], daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    @property
    def environment(self):
        url = f"http://127.0.0.1:{self.server_port}/v1"
        return {
            "OPENAI_BASE_URL": url,
            "OPENAI_API_KEY": "sk-of-this-test-alone",
            "NO_PROXY": "127.0.0.1",
        }


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):  # noqa: N802
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(request)
        asked = request["messages"][0]["content"]
        rng = random.Random(f"{request['seed']} {asked}")
        number = int(re.search(r"Write (\d+) new", asked)[1])
        letters = "abcdefghijklmnopqrstuvwxyz"
        words = lambda: " ".join("".join(rng.sample(letters, 5)) for _ in range(4))  # noqa: E731
        listed = "\n".join(f"{place}. {words()}" for place in range(1, number + 1))
        usage = {"prompt_tokens": 4, "completion_tokens": 6, "total_tokens": 10}
        message = {"role": "assistant", "content": listed}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        answer = {"id": "c", "object": "chat.completion", "created": 0, "model": request["model"],
                  "choices": [choice], "usage": usage}  # fmt: skip
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        """Be silent."""
