"""Tiny random preference models in the published forms, written to a folder as real ones are."""

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from selma.scorers.layouts.conversion import convert_hps
from selma.scorers.layouts.open_clip import Heads
from selma.tiny import scorers
from selma.tiny.scorers import MAX_TOKENS, letter_tokenizer

OPEN_CLIP_HEADS = Heads(vision=2, text=4)


class OpenClipTower(nn.Module):
    """Blocks with the names and the mathematics of open_clip's `Transformer`."""

    def __init__(self, width, heads, layers, activation):
        super().__init__()
        self.resblocks = nn.ModuleList()
        for _ in range(layers):
            block = nn.Module()
            block.ln_1, block.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
            block.attn = nn.MultiheadAttention(width, heads, batch_first=True)
            parts = {"c_fc": nn.Linear(width, 3 * width), "c_proj": nn.Linear(3 * width, width)}
            block.mlp = nn.Sequential(OrderedDict(parts))
            self.resblocks.append(block)
        self.activation = activation

    def forward(self, states, mask=None):
        for block in self.resblocks:
            x = block.ln_1(states)
            states = states + block.attn(x, x, x, attn_mask=mask, need_weights=False)[0]
            hidden = self.activation(block.mlp.c_fc(block.ln_2(states)))
            states = states + block.mlp.c_proj(hidden)
        return states


class OpenClip(nn.Module):
    """A CLIP with the names and the mathematics of open_clip, 60 thousand parameters."""

    def __init__(self, activation):
        super().__init__()
        self.visual = nn.Module()
        self.visual.conv1 = nn.Conv2d(3, 32, 8, 8, bias=False)
        self.visual.class_embedding = nn.Parameter(torch.randn(32))
        self.visual.positional_embedding = nn.Parameter(torch.randn(17, 32))
        self.visual.ln_pre, self.visual.ln_post = nn.LayerNorm(32), nn.LayerNorm(32)
        self.visual.transformer = OpenClipTower(32, OPEN_CLIP_HEADS.vision, 2, activation)
        self.visual.proj = nn.Parameter(torch.randn(32, 20))
        self.transformer = OpenClipTower(24, OPEN_CLIP_HEADS.text, 3, activation)
        self.token_embedding = nn.Embedding(len(letter_tokenizer()), 24)
        self.positional_embedding = nn.Parameter(torch.randn(MAX_TOKENS, 24))
        self.ln_final = nn.LayerNorm(24)
        self.text_projection = nn.Parameter(torch.randn(24, 20))
        self.logit_scale = nn.Parameter(torch.tensor(3.0))

    def cosines(self, pixel_values, ids):
        """Give the cosine of each picture (N, 3, 32, 32) with its text (N, T), padded with 0."""
        visual = self.visual
        patches = visual.conv1(pixel_values).flatten(2).transpose(1, 2)  # (N, 16, 32)
        first = visual.class_embedding.expand(len(patches), 1, -1)
        states = torch.cat([first, patches], dim=1) + visual.positional_embedding
        states = visual.transformer(visual.ln_pre(states))
        pictures = visual.ln_post(states[:, 0]) @ visual.proj
        states = self.token_embedding(ids) + self.positional_embedding
        causal = torch.full((MAX_TOKENS, MAX_TOKENS), -torch.inf).triu(1)
        states = self.ln_final(self.transformer(states, causal))
        ends = states[torch.arange(len(ids)), ids.argmax(dim=1)]
        texts = ends @ self.text_projection
        pictures, texts = nn.functional.normalize(pictures), nn.functional.normalize(texts)
        return (pictures * texts).sum(dim=1)


def _open_clip(activation=nn.functional.gelu) -> OpenClip:
    """Make one whose biases and norms are random too."""
    torch.manual_seed(1)
    model = OpenClip(activation).eval()
    for name, tensor in model.named_parameters():
        if tensor.ndim == 1 and name != "visual.class_embedding":
            nn.init.normal_(tensor, mean=float("ln_" in name and "weight" in name), std=0.2)
    return model


def _write_hps(directory: Path, version: str) -> OpenClip:
    """Convert a random checkpoint to `directory`, and give the model it is of."""
    model = _open_clip()
    parent = directory.parent
    letter_tokenizer().save_pretrained(parent / "tokenizer")
    torch.save({"state_dict": model.state_dict()}, parent / "HPS.pt")
    convert_hps(parent / "HPS.pt", version, parent / "tokenizer", directory, heads=OPEN_CLIP_HEADS)
    return model


@pytest.fixture(scope="session")
def tokenizer():
    """The tokenizer of both scorers."""
    return letter_tokenizer()


@pytest.fixture(scope="session")
def reward_config():
    """The shape of the tiny reward model."""
    return scorers.reward_config()


@pytest.fixture(scope="session")
def write_clip():
    """A function that writes a tiny CLIP to a folder and gives the model."""
    return scorers.write_clip


@pytest.fixture(scope="session")
def write_reward_model():
    """A function that writes a tiny reward model to a folder and gives the model."""
    return scorers.write_reward_model


@pytest.fixture(scope="session")
def make_open_clip():
    """A function from an activation to a tiny random model of open_clip's form."""
    return _open_clip


@pytest.fixture(scope="session")
def open_clip_heads():
    """The heads of those models."""
    return OPEN_CLIP_HEADS


@pytest.fixture(scope="session")
def write_hps():
    """A function that converts a tiny open_clip checkpoint to a folder and gives the model."""
    return _write_hps
