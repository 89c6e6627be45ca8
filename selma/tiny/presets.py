"""A real preset made tiny: the same rows, small numbers, untrained models, a few prompts."""

import io
import shutil
import tempfile
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from selma.core.choices import choose
from selma.core.errors import ConfigError

Writer = Callable[[Path], Any]
AT_MOST = {  # wherever a number of this name stands
    "threads": 1, "per_skill": 4, "max_requests": 40, "inference_steps": 2, "batch_size": 4,
    "rank": 2, "train_steps": 3, "micro_batch_size": 2, "checkpoint_every_steps": 2,
    "questions_per_batch": 3, "max_new_tokens": 5, "resamples": 200, "examples": 2,
    "evaluations": 2,
}  # fmt: skip
INSTEAD = {
    "learning_rate": 0.02,  # three steps shall change pictures
    "no_answer_max": 1.0,  # an untrained judge stammers
}
LLM = {"backend": "pocket", "model": "pocket-grammar", "revision": "1", "budget_usd": None}
LEAKS = {"leak_word_edits_max": 0, "leak_rouge_l_max": None}  # as the pocket preset
FAMILIES = {  # repository of a backbone → a key of selma.diffusion.tiny.KINDS
    "CompVis/stable-diffusion-v1-4": "sd1",
    "stabilityai/stable-diffusion-2": "sd2",
    "stabilityai/stable-diffusion-xl-base-1.0": "sdxl",
}
HEADER = """\
# The preset {name} at tiny sizes (`selma preset {name} --tiny`), to try the whole graph: the same
# rows, small numbers, models of the same classes with a few thousand random weights, a grammar
# for the LLM, a few prompts for a benchmark. Its scores mean nothing.
"""


@dataclass(frozen=True)
class TinyPreset:
    """The text of params.yaml, what writes each folder that it names, and its benchmarks."""

    text: str
    models: Mapping[str, Writer]
    benchmarks: Mapping[str, str]  # row → the public benchmark that it is of


def make_tiny(name: str, text: str) -> TinyPreset:
    """Make a preset's text tiny.

    ConfigError if it names no model of the Hub, or one that has no tiny stand-in.
    """
    yaml = _yaml()
    params = yaml.load("\n".join(line.partition("# FILL IN")[0] for line in text.splitlines()))
    if not params["hub"]:
        raise ConfigError(f"preset {name}: names no model of the Hub; run it as it is")
    _shrink(params)
    params["llm"].update(LLM)
    params["prompts"].update(LEAKS)
    models = _replace_models(params)
    params["hub"] = {}
    for section, key in ((params, "hub"), (params["llm"], "backend")):
        section.ca.items.pop(key, None)  # the comment, which no longer holds
    benchmarks = {f"{row}-tiny": row for row in params["benchmarks"]}
    params["benchmarks"] = {row: {} for row in benchmarks}
    for row in (*params["answers"].values(), *params["preferences"].values()):
        row["benchmark"] += "-tiny"
    params.yaml_add_eol_comment("no_answer_max is 1.0: untrained judges stammer", "measures")
    out = io.StringIO()
    yaml.dump(params, out)
    lines = [line for line in out.getvalue().splitlines() if not line.startswith("#")]
    return TinyPreset(HEADER.format(name=name) + "\n".join(lines) + "\n", models, benchmarks)


def write_tiny(tiny: TinyPreset, root: Path) -> None:
    """Write a tiny preset's models and benchmarks below `root`, in place of earlier ones."""
    from transformers.utils import logging as transformers_words

    from selma.benchmarks.importing import IMPORTERS, describe
    from selma.core.tables import write_table
    from selma.tiny.benchmarks import PUBLIC_FILES

    for row, public in tiny.benchmarks.items():
        write = choose("benchmark at tiny size", public, PUBLIC_FILES)
        with tempfile.TemporaryDirectory() as folder:
            imported = IMPORTERS[public](write(Path(folder)), partial=True)
            about = describe(public, imported, partial=True)
        write_table(root / f"data/benchmarks/{row}.parquet", "benchmark", imported.rows, about)
    transformers_words.disable_progress_bar()  # of writing weights
    before = transformers_words.get_verbosity()
    transformers_words.set_verbosity_error()  # classes that no model here uses lack torchvision
    try:
        for path, write_model in tiny.models.items():
            shutil.rmtree(root / path, ignore_errors=True)
            (root / path).mkdir(parents=True)
            write_model(root / path)
    finally:
        transformers_words.set_verbosity(before)


def _shrink(node: Any) -> None:
    """Bound the numbers of `AT_MOST` and put in those of `INSTEAD`, in all sections and rows."""
    if not isinstance(node, MutableMapping):
        return
    for key, value in node.items():
        if key in AT_MOST and isinstance(value, int):
            node[key] = min(value, AT_MOST[key])
        elif key in INSTEAD and isinstance(value, int | float):
            node[key] = INSTEAD[key]
        _shrink(value)


def _replace_models(params: Any) -> dict[str, Writer]:
    """Let every row name a folder of models/tiny; returns what writes them."""
    from selma.tiny import scorers
    from selma.tiny.blip2 import write_blip2
    from selma.tiny.mplug import write_mplug
    from selma.tiny.sentences import write_sentence_encoder

    judges: dict[str, Writer] = {
        "blip2": write_blip2,
        "mplug": partial(write_mplug, seed=3, leaning=20.0),
    }
    models: dict[str, Writer] = {}

    def replace(row: Any, key: str, write: Writer) -> None:
        row[key] = str(Path("models/tiny", *Path(row[key]).parts[1:]))
        models[row[key]] = write

    for row, key in (
        (params["backbone"], "path"),
        *((row, "weights") for row in params["models"].values()),
    ):
        source = Path(row[key])
        if source.parent == Path("models/hub"):
            replace(row, key, _backbone(params["hub"][source.name]["repo"]))
    for row in params["judges"].values():
        replace(row, "path", choose("judge at tiny size", row["kind"], judges))
    for row in params["measures"].values():
        if row.get("mapping") == "sbert":
            replace(row, "path", write_sentence_encoder)
    by_scorer = [row for row in params["raters"].values() if "judge" not in row]
    for row in (*params["preferences"].values(), *by_scorer):
        known: dict[str, Writer] = {
            "pickscore": scorers.write_clip,
            "imagereward": scorers.write_imagereward,
            "hps": partial(scorers.write_hps, version=row["version"]),
        }
        replace(row, "path", choose("scorer at tiny size", row["kind"], known))
    return models


def _backbone(repository: str) -> Writer:
    from selma.diffusion.tiny import write_tiny_backbone

    return partial(write_tiny_backbone, choose("backbone at tiny size", repository, FAMILIES))


def _yaml() -> Any:
    """Make a parser that keeps comments and looks, and writes null as null."""
    from ruamel.yaml import YAML
    from ruamel.yaml.representer import RoundTripRepresenter

    class Representer(RoundTripRepresenter):
        def represent_none(self, data: None) -> Any:
            return self.represent_scalar("tag:yaml.org,2002:null", "null")

    Representer.add_representer(type(None), Representer.represent_none)
    yaml = YAML()
    yaml.Representer, yaml.preserve_quotes, yaml.width = Representer, True, 10_000
    return yaml
