"""The network of mPLUG (arXiv 2205.12005), with the parameter names of its release.

Layer by layer the network and the beam search do what modelscope 1.40.2 does (Apache-2.0), whose
module cannot be called on transformers 5.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertLMHeadModel, BertModel
from transformers.activations import QuickGELUActivation
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.models.bert.modeling_bert import BertLayer

from selma.core.errors import BackendError

CLIP_HEAD_WIDTH = 64
LENGTH_PENALTY = 0.6  # exponent α of ((5 + length) / 6)^α, Wu et al., arXiv 1609.08144, eq. 14
IMPOSSIBLE = -1e20  # log p of an end token that comes too early


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of a network; `bert` is what text encoder, fusion and decoder share of BertConfig.

    The fusion layers that are used have the checkpoint's numbers from `first_fusion_layer` up to,
    not with, `end_fusion_layer`; each `stride`-th one but the first joins the modalities.
    """

    image_size_px: int  # edge of the square picture, a multiple of `patch_size_px`
    patch_size_px: int
    vision_width: int  # a multiple of 64
    vision_layers: int
    bert: Mapping[str, Any]
    text_layers: int
    first_fusion_layer: int
    end_fusion_layer: int
    stride: int
    decoder_layers: int


class Answer(NamedTuple):
    """What a search found: its score and its tokens, from the start token on."""

    score: float
    tokens: list[int]


class Fused(NamedTuple):
    """What the decoder reads of a picture and Q questions about it."""

    picture: Tensor  # (1, 1 + P, D), or (Q, 1 + P, D) where a layer joined it with the questions
    text: Tensor  # (Q, T, D)
    mask: Tensor  # (Q, T), 0 for padding


class Mplug(nn.Module):
    """Picture and question to what the decoder reads; `answer_tokens` lets the decoder speak.

    Building it draws weights from torch's global generator.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        shared: dict[str, Any] = {**config.bert, "attn_implementation": "sdpa"}
        text = BertConfig(**shared, num_hidden_layers=config.text_layers)
        shared |= {"is_decoder": True, "add_cross_attention": True}
        decoder = BertConfig(**shared, num_hidden_layers=config.decoder_layers)
        width = text.hidden_size
        self.visual_encoder = nn.ModuleDict({"visual": _ImageTower(config)})
        self.large = config.vision_width != width
        if self.large:
            self.visn_fc = nn.Linear(config.vision_width, width)
            self.visn_layer_norm = nn.LayerNorm(width, eps=1e-12)
        self.text_encoder = BertModel(text, add_pooling_layer=False)
        self.fusion_encoder = nn.ModuleDict({"encoder": _Fusion(config, decoder)})
        self.text_decoder = BertLMHeadModel(decoder)
        for index, layer in enumerate(self.text_decoder.bert.encoder.layer):
            layer.crossattention.self = _SharedCrossAttention(decoder, index)

    def encode_pictures(self, pixel_values: Tensor) -> Tensor:
        """Encode pictures, (N, 3, S, S) normalised as CLIP's, as (N, 1 + P, D): class, patches."""
        pixel_values = pixel_values.to(self.text_decoder.cls.predictions.bias)
        states: Tensor = self.visual_encoder["visual"](pixel_values)  # (N, 1 + P, vision width)
        return self.visn_layer_norm(self.visn_fc(states)) if self.large else states

    def read(self, picture: Tensor, input_ids: Tensor, mask: Tensor) -> Fused:
        """Fuse questions, (Q, T), 0 in `mask` for padding, with their picture, (1, 1 + P, D)."""
        text = self.text_encoder(input_ids=input_ids, attention_mask=mask).last_hidden_state
        picture, text = self.fusion_encoder["encoder"](picture, text, mask)
        return Fused(picture, text, mask)


class _SharedCrossAttention(nn.Module):
    """Bert's, but with one set of keys and values for all beams of a question."""

    def __init__(self, bert: BertConfig, index: int) -> None:
        super().__init__()
        width = bert.hidden_size
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.index = index
        self.heads = bert.num_attention_heads

    def remember(self, fused: Fused, cache: EncoderDecoderCache) -> None:
        """Put the keys and values of what is looked at into a cache, (Q, heads, S, D / heads)."""
        keys, values = (
            torch.cat([part(fused.picture).expand(len(fused.text), -1, -1), part(fused.text)], 1)
            for part in (self.key, self.value)
        )  # (Q, S, D)
        cache.cross_attention_cache.update(self._split(keys), self._split(values), self.index)

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: EncoderDecoderCache | None = None,
        **_: Any,
    ) -> tuple[Tensor, None]:
        """Attend with (Q · beams, 1, D), a question's beams together."""
        assert past_key_values is not None
        known = past_key_values.cross_attention_cache.layers[self.index]
        beams = self.query(hidden_states).view(len(known.keys), -1, hidden_states.shape[-1])
        mixed = nn.functional.scaled_dot_product_attention(
            self._split(beams), known.keys, known.values, attn_mask=attention_mask
        )  # (Q, heads, beams, D / heads)
        return mixed.transpose(1, 2).reshape(hidden_states.shape), None

    def _split(self, states: Tensor) -> Tensor:
        return states.view(*states.shape[:2], self.heads, -1).transpose(1, 2)


class _ImageTower(nn.Module):
    """CLIP's, without the projection: all states, normalised."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width, patch = config.vision_width, config.patch_size_px
        patches = (config.image_size_px // patch) ** 2
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros(patches + 1, width))
        self.conv1 = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.ln_pre = nn.LayerNorm(width)
        blocks = [_ImageBlock(width) for _ in range(config.vision_layers)]
        self.transformer = nn.ModuleDict({"resblocks": nn.Sequential(*blocks)})
        self.ln_post = nn.LayerNorm(width)

    def forward(self, pixel_values: Tensor) -> Tensor:
        patches = self.conv1(pixel_values).flatten(2).transpose(1, 2)  # (N, P, W)
        first = self.class_embedding.expand(len(patches), 1, -1)  # (N, 1, W)
        states = torch.cat([first, patches], dim=1) + self.positional_embedding
        states = self.transformer["resblocks"](self.ln_pre(states))
        normalised: Tensor = self.ln_post(states)  # (N, 1 + P, W)
        return normalised


class _ImageBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        heads = width // CLIP_HEAD_WIDTH
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1 = nn.LayerNorm(width)
        wide, narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        parts = OrderedDict(c_fc=wide, gelu=QuickGELUActivation(), c_proj=narrow)
        self.mlp = nn.Sequential(parts)
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, states: Tensor) -> Tensor:
        query = self.ln_1(states)
        states = states + self.attn(query, query, query, need_weights=False)[0]
        changed: Tensor = states + self.mlp(self.ln_2(states))
        return changed


class _Fusion(nn.Module):
    """The text looks at the picture in most layers; each stride-th layer joins and renews both.

    Layers have cross-attention weights even where they join, as the checkpoint has.
    """

    def __init__(self, config: NetworkConfig, bert: BertConfig) -> None:
        super().__init__()
        self.stride = config.stride
        numbers = range(config.first_fusion_layer, config.end_fusion_layer)
        self.layer = nn.ModuleDict({str(number): BertLayer(bert) for number in numbers})

    def forward(self, picture: Tensor, text: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        length = picture.shape[1]
        hidden = (1 - mask[:, None, None].to(text.dtype)) * torch.finfo(text.dtype).min
        joint_hidden = nn.functional.pad(hidden, (length, 0))  # (Q, 1, 1, 1 + P + T)
        for index, layer in enumerate(self.layer.values()):
            if index == 0 or index % self.stride:
                text = layer(text, hidden, picture)
            else:
                pictures = picture.expand(len(text), -1, -1)  # (Q, 1 + P, D)
                both = layer(torch.cat([pictures, text], dim=1), joint_hidden)
                picture, text = pictures + both[:, :length], both[:, length:]
        return picture, text  # (1 or Q, 1 + P, D), (Q, T, D)


def answer_tokens(
    decoder: BertLMHeadModel,
    fused: Fused,
    *,
    beams: int,
    min_new_tokens: int,
    max_new_tokens: int,
    start_id: int,
    end_id: int,
) -> list[Answer]:
    """Search the best answer to each of Q questions, with the rules of the release's generator.

    A score is Σ log p / ((5 + length) / 6)^0.6 of the tokens after `start_id`. A search is over
    when its best beam has ended, with `end_id`, or is full; the best score of this beam and of
    those that ended before wins. A beam that ended without being the best lives on, so an answer
    can hold an end token in its middle. `max_new_tokens` counts the end token, `min_new_tokens`
    those before it. BackendError: a score is not a number, as after an overflow in float16.
    """
    count, device = len(fused.text), fused.text.device
    cache = EncoderDecoderCache(
        DynamicCache(config=decoder.config), DynamicCache(config=decoder.config)
    )
    for layer in decoder.bert.encoder.layer:
        layer.crossattention.self.remember(fused, cache)
    tokens = torch.full((count, 1), start_id, device=device)  # one beam each in the first step
    totals = torch.zeros((count, 1), device=device)  # Σ log p of each beam
    best = [Answer(-torch.inf, [])] * count
    searching = set(range(count))
    for step in range(max_new_tokens):
        log_probs = _next_log_probs(decoder, tokens, fused, cache)  # (Q · live beams, V)
        if step < min_new_tokens:
            log_probs[:, end_id] = IMPOSSIBLE
        penalty = ((5 + (step + 1)) / 6) ** LENGTH_PENALTY
        scores = (totals.view(-1, 1) + log_probs) / penalty
        scores, picked = scores.view(count, -1).topk(beams)  # (Q, beams)
        if bool(scores.isnan().any()):
            raise BackendError("mplug: a score is not a number; load the judge with dtype float32")
        totals = scores * penalty
        origins, words = picked // log_probs.shape[-1], picked % log_probs.shape[-1]
        first_beams = torch.arange(count, device=device)[:, None] * (len(tokens) // count)
        parents = (first_beams + origins).view(-1)  # (Q · beams,)
        tokens = torch.cat([tokens[parents], words.view(-1, 1)], dim=1)
        ended = words == end_id  # (Q, beams)
        ended[:, 0] |= step + 1 == max_new_tokens
        for search, beam in ended.nonzero().tolist():
            score = float(scores[search, beam])
            if search in searching and score > best[search].score:
                best[search] = Answer(score, tokens[search * beams + beam].tolist())
        searching -= {search for search, over in enumerate(ended[:, 0].tolist()) if over}
        if not searching:
            break
        cache.self_attention_cache.batch_select_indices(parents)
    return best


def _next_log_probs(
    decoder: BertLMHeadModel, tokens: Tensor, fused: Fused, cache: EncoderDecoderCache
) -> Tensor:
    seen = nn.functional.pad(fused.mask, (fused.picture.shape[1], 0), value=1)  # (Q, 1 + P + T)
    logits: Tensor = decoder(
        input_ids=tokens[:, -1:],
        encoder_hidden_states=fused.text,  # only says that there is something to look at
        encoder_attention_mask=seen[:, None, None].bool(),
        past_key_values=cache,
        use_cache=True,
    ).logits[:, -1]
    return logits.float().softmax(dim=-1).log()
