"""The pocket world's preference scorers before they are trained: CLIPs and a BLIP reward model."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from selma.foundation.naming import PATCH_PX
from selma.foundation.neighbours import HEADS, start_blip_near, start_clip_near
from selma.foundation.tokenizer import MAX_TOKENS
from selma.foundation.training import load_as_float32
from selma.pocket.scenes import CANVAS_PX
from selma.scorers import image_reward
from selma.scorers.image_reward import RewardConfig, RewardModel
from selma.scorers.pixels import ImageSettings, preprocess

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter
    from transformers import CLIPModel, CLIPTokenizer

IMAGE_SETTINGS = ImageSettings(CANVAS_PX, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
WIDTH, VISION_LAYERS, TEXT_LAYERS, PROJECTION = 96, 4, 3, 64
HEAD_SIZES = (64, 32, 16)  # of the reward model
# Of the reward model's first weights: with BLIP's 0.02, meant for a width of 768, attention in
# towers this narrow stays nearly even for very long.
VISION_DEVIATION, TEXT_DEVIATION = 0.05, 0.1
CONTRAST_SCALE = 1 / 0.07  # of the reward model's cosines; what CLIP and BLIP start from
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class TokenTable:
    """Token ids of many texts."""

    ids: "Tensor"  # (N, T)
    mask: "Tensor"  # (N, T), 1 for a token and 0 for padding

    def rows(self, indices: Indices) -> tuple["Tensor", "Tensor"]:
        """Take (ids, mask) of some texts, cut to the longest of them."""
        import torch

        chosen = torch.from_numpy(indices)
        mask = self.mask[chosen]
        longest = int(mask.sum(dim=1).max())
        return self.ids[chosen, :longest], mask[:, :longest]


@dataclass(frozen=True)
class PretrainingStep:
    """The loss of N captioned pictures, and states that more can be learnt from."""

    loss: "Tensor"
    patches: "Tensor"  # (N, P, D)
    pictures: "Tensor"  # features, (N, the scorer's feature_width)
    captions: "Tensor"  # as `pictures`


@dataclass(frozen=True)
class ClipScorer:
    """PickScore's and HPS's form: exp(logit_scale) · cosine of two CLIP features."""

    clip: "CLIPModel"
    feature_width = PROJECTION

    def parameters(self) -> "dict[str, Parameter]":
        return dict(self.clip.named_parameters())

    def pretraining_loss(
        self, pixels: "Tensor", ids: "Tensor", mask: "Tensor"
    ) -> "PretrainingStep":
        """CLIP's symmetric contrast of N pictures, in which twins are the hard negatives."""
        out = self.clip(pixel_values=pixels, input_ids=ids, attention_mask=mask)
        patches = out.vision_model_output.last_hidden_state[:, 1:]
        pictures, texts = out.vision_model_output, out.text_model_output
        features = pictures.pooler_output, texts.pooler_output
        return PretrainingStep(contrast(out.logits_per_image), patches, *features)

    def scores(self, pixels: "Tensor", ids: "Tensor", mask: "Tensor", text_of: Indices) -> "Tensor":
        """Score M pictures (M, 3, S, S), each for the text that `text_of` (M,) names."""
        import torch

        pictures = self.clip.get_image_features(pixel_values=pixels).pooler_output  # (M, D)
        texts = self.clip.get_text_features(input_ids=ids, attention_mask=mask).pooler_output
        texts = texts[torch.from_numpy(text_of)]  # (M, D)
        cosines = torch.nn.functional.cosine_similarity(pictures, texts)
        scaled: Tensor = self.clip.logit_scale.exp() * cosines
        return scaled

    def save(self, folder: Path) -> None:
        copy.deepcopy(self.clip).half().save_pretrained(folder)
        load_as_float32(folder)


@dataclass(frozen=True)
class RewardScorer:
    """ImageReward's form: a text tower that attends to the picture, and a head."""

    model: RewardModel
    feature_width = WIDTH

    def parameters(self) -> "dict[str, Parameter]":
        return dict(self.model.named_parameters())

    def pretraining_loss(
        self, pixels: "Tensor", ids: "Tensor", mask: "Tensor"
    ) -> "PretrainingStep":
        """Tell a caption's own picture from its twin and from a stranger.

        Twins lie side by side; the stranger is the picture of the next pair of twins. To this is
        added the contrast of all captions, read without a picture, with all pictures.
        """
        import torch
        from torch.nn.functional import cross_entropy, normalize

        own = torch.arange(len(pixels))  # (N,)
        network = self.model.network  # as `RewardModel.forward`, but the vision tower runs once
        patches = network["vision"](pixel_values=pixels).last_hidden_state
        pictures = torch.cat([own, own ^ 1, own.roll(-2)])  # (3N,)
        texts = own.repeat(3)
        states = network["text"](
            input_ids=ids[texts],
            attention_mask=mask[texts],
            encoder_hidden_states=patches[pictures],
            is_decoder=False,
        ).last_hidden_state
        raw = network["head"](states[:, 0])[:, 0].reshape(3, -1)
        matched = cross_entropy(raw.T, torch.zeros_like(own))
        unseen = network["text"](input_ids=ids, attention_mask=mask, is_decoder=False)
        features, read = patches[:, 0], unseen.last_hidden_state[:, 0]  # (N, D) each
        logits = CONTRAST_SCALE * normalize(features) @ normalize(read).T
        return PretrainingStep(matched + contrast(logits), patches[:, 1:], features, read)

    def scores(self, pixels: "Tensor", ids: "Tensor", mask: "Tensor", text_of: Indices) -> "Tensor":
        """Score M pictures, as `ClipScorer.scores`."""
        import torch

        chosen = torch.from_numpy(text_of)
        return self.model.forward(pixels, ids[chosen], mask[chosen])

    def save(self, folder: Path) -> None:
        halved = copy.deepcopy(self.model.network).half()
        image_reward.save(RewardModel(self.model.config, halved), folder)


Scorer = ClipScorer | RewardScorer


def contrast(logits: "Tensor") -> "Tensor":
    """Compute CLIP's symmetric loss of N pictures and their N texts, (N, N)."""
    import torch

    own = torch.arange(len(logits))
    loss = torch.nn.functional.cross_entropy
    return (loss(logits, own) + loss(logits.T, own)) / 2


def _towers(tokenizer: "CLIPTokenizer") -> tuple[dict[str, Any], dict[str, Any]]:
    common = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_attention_heads": HEADS}
    vision = {"num_hidden_layers": VISION_LAYERS, "image_size": CANVAS_PX, "patch_size": PATCH_PX}
    text = {
        "num_hidden_layers": TEXT_LAYERS,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": MAX_TOKENS,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return common | vision, common | text


def build_clip(tokenizer: "CLIPTokenizer", seed: int) -> "CLIPModel":
    """Build an untrained CLIP for 32×32 pictures: 0.8 M parameters."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(seed)
    size = {"projection_dim": PROJECTION}
    vision, text = _towers(tokenizer)
    clip = CLIPModel(CLIPConfig(vision_config=vision | size, text_config=text | size, **size))
    start_clip_near(clip.vision_model)
    return clip


def build_reward_model(tokenizer: "CLIPTokenizer", seed: int) -> RewardModel:
    """Build an untrained reward model for 32×32 pictures: 1 M parameters."""
    import torch

    vision, text = _towers(tokenizer)
    dropouts = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    own = {"sep_token_id": tokenizer.eos_token_id, "initializer_range": TEXT_DEVIATION}
    torch.manual_seed(seed)
    model = image_reward.build(
        RewardConfig(
            vision=vision | {"initializer_range": VISION_DEVIATION},
            text=text | dropouts | own,
            head_sizes=HEAD_SIZES,
            head_dropouts=(0.0,) * len(HEAD_SIZES),
            text_max_tokens=MAX_TOKENS,
            reward_mean=0.0,
            reward_standard_deviation=1.0,
        )
    )
    start_blip_near(model.network["vision"])
    return model


def tokenize(tokenizer: "CLIPTokenizer", texts: Sequence[str]) -> TokenTable:
    """Tokenise texts; what goes beyond ``MAX_TOKENS`` is cut off, as when scoring."""
    batch = tokenizer(
        list(texts), padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
    )
    return TokenTable(batch["input_ids"], batch["attention_mask"])


def to_pixels(pictures: NDArray[np.uint8]) -> "Tensor":
    """Prepare pictures (N, H, W, 3) as the released scorers will, (N, 3, H, W)."""
    import torch

    return torch.from_numpy(preprocess(list(pictures), IMAGE_SETTINGS))
