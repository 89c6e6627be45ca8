"""Hand-made inputs for single stages, and what runs one."""

import contextlib
import hashlib
import importlib
import io
import json
import shlex
from pathlib import Path

from chat_server import completion, serving
from PIL import Image

from selma.core.tables import read_table, write_table
from selma.pocket.render import render
from selma.pocket.scenes import Scene, SceneObject

SIDE_PX = 32


def run(stage, arguments):
    """Run a stage in this process, in the current folder."""
    importlib.import_module(f"stages.{stage}").main(shlex.split(arguments))


def pixels(row):
    """The pixels of a table's row, as integers."""
    import numpy as np

    return np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB")).astype(int)


def sample(item, number, colour):
    """A row of a samples table: a square of one colour on white, a little lower for each sample."""
    square = SceneObject("square", colour, "large", 16.0, 12.0 + number)
    buffer = io.BytesIO()
    Image.fromarray(render(Scene("white", (square,)))).save(buffer, format="PNG")
    data = buffer.getvalue()
    return {
        "item_id": item["item_id"],
        "sample": number,
        "image": {"bytes": data, "path": None},
        "prompt": item["prompt"],
        "seed": number,
        "width": SIDE_PX,
        "height": SIDE_PX,
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def question(number, text, *, answer="yes", choices=(), dependency="0", category="entity"):
    return {
        "question_id": number,
        "question": text,
        "choices": list(choices),
        "answer": answer,
        "dependency": dependency,
        "category": category,
        "element": "",
    }


def item(item_id, prompt, *questions, source="count"):
    return {"item_id": item_id, "prompt": prompt, "source": source, "questions": list(questions)}


def answer(item_id, number, text, *, sample_number=0, judge="hand"):
    return {
        "item_id": item_id,
        "sample": sample_number,
        "question_id": number,
        "judge": judge,
        "revision": "1",
        "sha256": "0" * 64,
        "raw_answer": text,
        "answer": text,
    }


def write_benchmark(name, *items):
    write_table(Path("data/benchmarks") / f"{name}.parquet", "benchmark", items)


def write_samples(model, benchmark, rows):
    write_table(Path("data/samples") / model / f"{benchmark}.parquet", "samples", rows)


def rows_of(path, kind):
    return read_table(Path(path), kind)


def read_json(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def stock_pipeline(folder, dtype="float32"):
    """The picture maker of stock diffusers, as an oracle."""
    import torch
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    pipeline.to(getattr(torch, dtype))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def stock_picture(pipeline, prompt, seed, *, guidance_scale, inference_steps):
    import numpy as np
    import torch

    (image,) = pipeline(
        prompt,
        generator=torch.Generator().manual_seed(seed),
        guidance_scale=guidance_scale,
        num_inference_steps=inference_steps,
        height=SIDE_PX,
        width=SIDE_PX,
    ).images
    return np.asarray(image).astype(int)


@contextlib.contextmanager
def chat_server(monkeypatch, reply):
    """A server that answers each request's body with a text."""
    with serving(monkeypatch, lambda body: (200, completion(reply(body)))) as server:
        yield server
