"""A world of the pipeline's real files, tiny and untrained, for tests that run whole stages."""

import copy
import shutil
from pathlib import Path

from ruamel.yaml import YAML

from selma.core.files import write_json
from selma.core.tables import write_table

ROOT = Path(__file__).parent.parent
BENCHMARKS = ("pocket-dsg", "pocket-tifa")
CHANGES = {
    "threads": 1,
    "prompts": {"per_skill": 4},
    "images": {"inference_steps": 2, "batch_size": 3},
    "lora": {
        "rank": 2,
        "learning_rate": 0.02,
        "train_steps": 3,
        "batch_size": 2,
        "checkpoint_every_steps": 1,
    },
    "samples": {"inference_steps": 2, "batch_size": 5},
    "compare": {"resamples": 200},
    "report": {"examples": 2},
}


def read_yaml(path):
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def shipped_params():
    """The pocket preset; params.yaml itself may be anybody's variant."""
    return read_yaml(ROOT / "presets/pocket.yaml")


def tiny_params(**changes):
    """The pocket preset with small numbers; a section in `changes` is laid over them."""
    params = shipped_params()
    for layer in (CHANGES, changes):
        for name, value in copy.deepcopy(layer).items():
            params[name] = {**params[name], **value} if isinstance(value, dict) else value
    return params


def correct_section(**changes):
    """The section `correct` with a round of few steps, in which only what is certain is seen."""
    section = {**shipped_params()["correct"], "rounds": 1, "keep": "all", **changes}
    section["detector"] |= {"batch_size": 2, "attribute": 1.0, "primitive": 1.0}
    section["editor"] |= {"inference_steps": 2, "dilation_px": 1}
    return section


def inpaint_editor(path):
    """The section of an editor that leaves pixels outside its masks as they are."""
    return {
        "kind": "inpaint", "path": str(path), "dtype": "float32", "adapter": None,
        "inference_steps": 2, "guidance_scale": 3.0, "attribute_strength": 0.5, "dilation_px": 3,
        "feather_px": 0, "negative_prompt": "", "alignment": "centre",
    }  # fmt: skip


def write_params(folder, params):
    yaml = YAML(typ="safe")
    yaml.default_flow_style, yaml.sort_base_mapping_type_on_output = False, False
    yaml.dump(params, folder / "params.yaml")


def build_tokenizer():
    """A CLIPTokenizer that spells every word."""
    from tokenizers import pre_tokenizers
    from transformers import CLIPTokenizer

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(f"{letter}</w>" for letter in alphabet)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=48)


def write_models(folder):
    """Write the models of models/pocket with untrained weights."""
    from selma.foundation.autoencoder import build_autoencoder
    from selma.foundation.denoiser import Denoiser, build_text_encoder, build_unet, save_pipeline
    from selma.foundation.detector_model import build_detector, save_detector
    from selma.foundation.grounding import build_gated_unet, save_grounded
    from selma.foundation.scorer_files import build_scorer, save_scorer

    tokenizer = build_tokenizer()
    models = folder / "models" / "pocket"
    denoiser = Denoiser(build_text_encoder(tokenizer, 0), build_unet((32, 32), 0))
    for parameter in denoiser.text_encoder.parameters():
        parameter.data *= 3  # untrained, but pictures of different prompts should differ
    save_pipeline(models / "base", build_autoencoder(0), tokenizer, denoiser)
    save_grounded(models / "gligen", models / "base", build_gated_unet(denoiser.unet, 0))
    shutil.copytree(models / "base", models / "weak_base")
    for seed, name in enumerate(("pickscore", "hps", "imagereward")):
        save_scorer(build_scorer(name, tokenizer, seed), tokenizer, models / name)
    save_detector(build_detector(tokenizer, 0), tokenizer, models / "detector")


def write_benchmarks(folder, items_per_skill=1):
    from selma.foundation.benchmarks import benchmark_rows

    for name in BENCHMARKS:
        rows = benchmark_rows(name, items_per_skill, 0)
        write_table(folder / "data/benchmarks" / f"{name}.parquet", "benchmark", rows)


def write_images(folder, skill, number, prompt="{} red cats"):
    """Write data/images/{skill}.parquet with pictures of noise; `prompt` takes their number."""
    import numpy as np

    from selma.diffusion.requests import as_images, make_requests, picture_row

    noise = np.random.default_rng(0)
    requests = make_requests({f"{skill}-{k}": prompt.format(k) for k in range(number)}, 1, 0, skill)
    rows = [picture_row(r, noise.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for r in requests]
    write_table(folder / "data/images" / f"{skill}.parquet", "images", as_images(rows))


SELF = {"kind": "self", "path": "selma/diffusion"}


def write_source(folder, row=SELF):
    """Write data/sources/mine, of a model that draws."""
    write_json(folder / "data/sources/mine/row.json", {"row": row})


def write_pairs(folder, skill, prompts, per_prompt=2):
    """Write data/pairs/{skill}.parquet: pictures of noise, rated by their number."""
    import numpy as np

    from selma.diffusion.requests import as_images, make_requests, picture_row

    noise = np.random.default_rng(1)
    texts = {f"{skill}-{k}": f"{k} red cats" for k in range(prompts)}
    rows = [
        picture_row(request, noise.integers(0, 256, (32, 32, 3), dtype=np.uint8))
        for request in make_requests(texts, per_prompt, 0, skill)
    ]
    rated = [{**row, "rating": float(number)} for number, row in enumerate(as_images(rows))]
    write_table(folder / "data/pairs" / f"{skill}.parquet", "pairs", rated)


def write_rater(folder, name="pickscore"):
    """Write data/rows/objective.json, as the stage does where that rater rates."""
    from selma.core.files import write_json

    row = shipped_params()["raters"][name]
    content = {"row": row, "files": {row["path"]: ""}}
    if "judge" in row:
        judge = shipped_params()["judges"][row["judge"]]
        content["judge"] = {"row": judge, "files": {judge["path"]: ""}}
    write_json(folder / "data/rows/objective.json", {"raters": {name: content}, "code": None})


def with_objective(name, **changes):
    """Tiny params for an objective: two rounds of few pictures for a reward."""
    params = tiny_params(**changes)
    params["lora"]["objective"] = name
    params["objectives"]["dpo"] |= {"lora": {}, "pairs": {"rater": "pickscore", "images": {}}}
    params["objectives"]["ddpo"] |= {"per_prompt": 2, "lora": {"train_steps": 4}}
    return params


def write_prompts(folder, skill, number):
    """Write data/prompts/{skill}.parquet."""
    found = {"request_id": 0, "nearest_prompt_id": None, "rouge_l": 0.0, "skill": skill}
    found |= {"nearest_benchmark_id": None, "benchmark_rouge_l": 0.0, "benchmark_kind": None}
    rows = [
        {"prompt_id": f"{skill}-{k:03d}", "prompt": f"{k} red cats", "index": k, **found}
        for k in range(number)
    ]
    write_table(folder / "data/prompts" / f"{skill}.parquet", "prompts", rows)


MERGE = {
    "method": "delta_mean", "scale": 1.0, "rank": None, "error_max": None, "match_norm": False,
    "parameters": {}, "dtype": "float32",
}  # fmt: skip
LAYER = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_v"


def write_expert(folder, name, *, layer=LAYER, strength=3.0):
    """Write models/experts/{name}.safetensors: one layer of rank 2."""
    import torch

    from selma.adapters.factors import LoraFactors
    from selma.adapters.files import write_adapter

    factors = LoraFactors(torch.eye(2, 96), strength * torch.ones(32, 2))
    write_adapter(
        folder / "models/experts" / f"{name}.safetensors", {layer: factors}, {"name": name}
    )


def copy_models(source, folder):
    shutil.copytree(source / "models", folder / "models", dirs_exist_ok=True)


DISTILLATION = {
    "student": "models/merged/merged.safetensors", "kind": "composite", "weights": {"count": 1.0},
    "guidance_scale": 3.0, "match": "guided",
    "trajectory": {"guidance_scale": 2.0, "inference_steps": 2, "points": 1}, "lora": {},
}  # fmt: skip
SEARCH = {
    "method": "delta_mean",
    "skills": ["count"],
    "weights": {"low": 0.5, "high": 1.0, "step": 0.25},
    "scale": {"low": 0.5, "high": 2.0, "step": 0.25},
    "rank": None,
    "error_max": None,
    "match_norm": False,
    "parameters": {},
    "dtype": "float32",
    "benchmark": "pocket-dsg",
    "judge": "pocket",
    "template": "bare",
    "measure": {
        "kind": "dsg", "path": "selma/metrics", "policy": "official", "mean": "prompt",
        "no_answer_max": 0.05,
    },
    "samples": {"per_prompt": 1},
    "sampler": "tpe",
    "evaluations": 3,
}  # fmt: skip


def write_dev_split(folder, items_per_skill=1):
    """Write data/dev/pocket-dsg.parquet, of prompts that stand in no benchmark there."""
    from selma.benchmarks.folder import benchmark_prompts
    from selma.foundation.benchmarks import split_rows

    known = benchmark_prompts([folder / "data/benchmarks"]).values()
    rows = split_rows("pocket-dsg", "dev", items_per_skill, 0, known)
    write_table(folder / "data/dev/pocket-dsg.parquet", "benchmark", rows)
