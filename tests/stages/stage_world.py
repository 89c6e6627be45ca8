"""Hand-made inputs for single stages, and what runs one."""

import contextlib
import hashlib
import importlib
import io
import json
import shlex
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

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


class ChatServer(ThreadingHTTPServer):
    """Speaks OpenAI's chat completions: keeps each request and answers it by a function.

    After `broken_after` requests it refuses all others.
    """

    daemon_threads = True

    def __init__(self, reply):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reply, self.requests, self.broken_after = reply, [], 1_000_000


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(body)
        if len(self.server.requests) > self.server.broken_after:
            self._send(400, {"error": {"message": "no"}})
            return
        message = {"role": "assistant", "content": self.server.reply(body)}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        completion = {"id": "c", "object": "chat.completion", "created": 0, "model": "m"}
        self._send(200, {**completion, "choices": [choice]})

    def _send(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        """Be silent."""


@contextlib.contextmanager
def chat_server(monkeypatch, reply):
    """A server on loopback, to which the environment points."""
    server = ChatServer(reply)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
