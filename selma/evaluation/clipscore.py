"""CLIPScore: the cosine of a picture's and its prompt's CLIP features, in named variants.

The published definitions differ by factor, prefix, clamp and in how prompts and pictures are
prepared, so a number is worth nothing without the variant's name. `CLIPSCORES` lists them. All run
in float32, also those whose authors ran float16 on a GPU.
Sources: CLIPScore, arXiv 2104.08718; TIFA, arXiv 2303.11897; torchmetrics 1.9.
"""

import contextlib
import hashlib
import html
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.choices import choose
from selma.errors import ConfigError, MissingDataError, RecordError

if TYPE_CHECKING:
    import torch
    from transformers import CLIPModel

    from selma.evaluation.pixels import ImageSettings

DEVICES = ("cpu", "cuda")
_STRAIGHT = str.maketrans(
    {**dict.fromkeys("\u02bc\u2018\u2019\u201a\u201b", "'"), **dict.fromkeys("“”„‟", '"')}
)


@dataclass(frozen=True)
class Tokens:
    """Prompts as a text tower reads them.

    Attributes:
        input_ids: (N, T).
        attention_mask: (N, T), 0 for padding that nothing attends to.
        truncated: for each prompt, whether its end was cut off.
    """

    input_ids: "torch.Tensor"
    attention_mask: "torch.Tensor"
    truncated: list[bool]


@dataclass(frozen=True)
class Scorer:
    """A model that is ready to score pictures against their prompts.

    Attributes:
        about: in JSON's types, all that decides a score: version, unit, preprocessing, …
        settings: how pictures become its input.
        tokenize: prompts → Tokens.
        score: ((N, 3, S, S) pixel values, tokens) → (N,) scores; all on the CPU.
    """

    about: Mapping[str, Any]
    settings: "ImageSettings"
    tokenize: Callable[[Sequence[str]], Tokens]
    score: Callable[["torch.Tensor", Tokens], "torch.Tensor"]


@dataclass(frozen=True)
class Variant:
    """One definition of CLIPScore.

    Attributes:
        unit: the score in words.
        prefix: put before each prompt.
        prompt_rule: a key of `PROMPT_RULES`.
        resize: a key of `pixels.RESIZES`.
        score: cosines (N,) → scores (N,).
    """

    unit: str
    prefix: str
    prompt_rule: str
    resize: str
    score: Callable[["torch.Tensor"], "torch.Tensor"]


CLIPSCORES: dict[str, Variant] = {
    # ImageReward's helper on ViT-L/14; t2v_metrics on any open_clip model.
    "cosine": Variant(
        "cosine", "", "open_clip", "pillow-bicubic-torchvision", lambda cosines: cosines
    ),
    # The original, on ViT-B/32.
    "hessel": Variant(
        "2.5 * max(cosine, 0)",
        "A photo depicts ",
        "open_clip",
        "pillow-bicubic-torchvision",
        lambda cosines: 2.5 * cosines.clamp(min=0),
    ),
    # TIFA's clipscore_vitb32.
    "tifa": Variant(
        "100 * cosine", "", "open_clip", "pillow-bicubic-torchvision", lambda cosines: 100 * cosines
    ),
    # Its mean over a set of pictures is clamped, which is the same as long as no cosine is below 0.
    "torchmetrics": Variant(
        "max(100 * cosine, 0)",
        "",
        "torchmetrics",
        "pillow-bicubic",
        lambda cosines: (100 * cosines).clamp(min=0),
    ),
}


def load_clipscore(directory: Path, variant: str, *, device: str = "cpu") -> Scorer:
    """Load a CLIP that scores as a variant of CLIPScore does.

    Args:
        directory: any CLIP in transformers' layout; it decides the score as much as the variant.
        variant: a key of `CLIPSCORES`.
        device: "cpu" or "cuda".

    Raises:
        ConfigError: there is no such variant or device.
        MissingDataError: a file is not there.
        RecordError: the files do not fit each other.
    """
    from selma.evaluation.pixels import read_image_settings

    chosen = choose("CLIPScore variant", variant, CLIPSCORES)
    settings = replace(read_image_settings(directory), resize=chosen.resize)
    clip = load_clip(directory, device)
    return clip_scorer(
        directory,
        clip,
        settings,
        version=variant,
        unit=chosen.unit,
        prompt_rule=chosen.prompt_rule,
        prefix=chosen.prefix,
        to_score=chosen.score,
    )


def load_clip(directory: Path, device: str) -> "CLIPModel":
    """Read a CLIP in transformers' layout as float32, ready to score.

    Raises:
        ConfigError: the device is unknown or not there.
        RecordError: config.json and weights do not fit each other.
    """
    import torch
    from transformers import CLIPModel

    check_device(device)
    try:
        clip, report = CLIPModel.from_pretrained(
            directory,
            dtype=torch.float32,
            local_files_only=True,
            output_loading_info=True,
            use_safetensors=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        problem = " ".join(str(error).split())[:300]
        raise RecordError(f"{directory}: not a CLIP model: {problem}") from error
    wrong = {name: sorted(map(str, keys)) for name, keys in report.items() if keys}
    if wrong:
        raise RecordError(f"{directory}: weights and config.json do not fit: {wrong}")
    return clip.eval().to(device)


def clip_scorer(
    directory: Path,
    clip: "CLIPModel",
    settings: "ImageSettings",
    *,
    version: str,
    unit: str,
    prompt_rule: str,
    prefix: str,
    to_score: Callable[["torch.Tensor"], "torch.Tensor"],
) -> Scorer:
    """Make a scorer of a CLIP's cosines.

    Args:
        directory: where tokenizer and weights are.
        clip: of `load_clip`.
        settings: how pictures become its input.
        version: what the score is called.
        unit: the score in words.
        prompt_rule: a key of `PROMPT_RULES`.
        prefix: put before each prompt.
        to_score: cosines (N,) → scores (N,).

    Raises:
        MissingDataError: the tokenizer is not there.
        RecordError: it is of another model.
    """
    text = clip.config.text_config
    if settings.size_px != clip.config.vision_config.image_size:
        raise RecordError(
            f"{directory}: pictures become {settings.size_px} px squares, the vision tower wants "
            f"{clip.config.vision_config.image_size}; preprocessor_config.json is of another model"
        )
    tokenize = prompt_tokenizer(
        directory,
        prompt_rule,
        prefix=prefix,
        max_tokens=text.max_position_embeddings,
        vocab_size=text.vocab_size,
        end_id=text.eos_token_id,
    )

    def score(pixel_values: "torch.Tensor", tokens: Tokens) -> "torch.Tensor":
        with full_float32():
            return to_score(clip_cosines(clip, pixel_values, tokens)).cpu()

    about = {
        "version": version,
        "unit": unit,
        "preprocessing": f"{settings}; "
        + describe_prompts(prompt_rule, prefix, text.max_position_embeddings),
        "revision": weights_revision(directory),
        "device": clip.device.type,
    }
    return Scorer(about, settings, tokenize, score)


def clip_cosines(clip: "CLIPModel", pixel_values: "torch.Tensor", tokens: Tokens) -> "torch.Tensor":
    """Give the cosine of each picture with its prompt, (N,), on the model's device.

    Args:
        clip: both towers.
        pixel_values: (N, 3, S, S).
        tokens: of N prompts.
    """
    import torch

    device = clip.device
    pictures = clip.get_image_features(pixel_values=pixel_values.to(device)).pooler_output  # (N, D)
    texts = clip.get_text_features(
        input_ids=tokens.input_ids.to(device), attention_mask=tokens.attention_mask.to(device)
    ).pooler_output  # (N, D)
    # Some releases of transformers return the unprojected state here, of another width.
    expected = (len(pixel_values), clip.config.projection_dim)
    assert pictures.shape == texts.shape == expected, (pictures.shape, texts.shape, expected)
    return torch.nn.functional.cosine_similarity(pictures, texts)


def check_device(device: str) -> None:
    """Check that torch can use a device.

    Raises:
        ConfigError: it is none of `DEVICES`, or torch does not find it.
    """
    import torch

    choose("device", device, dict.fromkeys(DEVICES))
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device 'cuda': torch finds no CUDA device; use 'cpu'")


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """Keep CUDA from rounding float32 factors to 10 bits (TF32), its default in convolutions."""
    from torch import backends

    convolution: Any = backends.cudnn.conv  # type: ignore[attr-defined]
    product = backends.cuda.matmul
    before = convolution.fp32_precision, product.fp32_precision
    convolution.fp32_precision = product.fp32_precision = "ieee"
    try:
        yield
    finally:
        convolution.fp32_precision, product.fp32_precision = before


def weights_revision(directory: Path) -> str:
    """Name the weights of a folder by content: the SHA-256 of its safetensors file.

    Of several files it is the SHA-256 of theirs, in the order of their names.
    """
    digests = []
    for path in sorted(directory.glob("*.safetensors")):
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256"))
    if len(digests) == 1:
        return f"sha256:{digests[0].hexdigest()}"
    return f"sha256:{hashlib.sha256(b''.join(part.digest() for part in digests)).hexdigest()}"


@dataclass(frozen=True)
class PromptRule:
    """How prompts become token ids of one length.

    Attributes:
        words: what it does, for the record.
        clean: the prompt → the text that the tokenizer gets.
        cut: (ids of one prompt with start and end, most tokens) → at most that many ids.
        pad_id: what follows the end; None is the tokenizer's own.
        masked: whether the padding is masked.
    """

    words: str
    clean: Callable[[str], str]
    cut: Callable[[list[int], int], list[int]]
    pad_id: int | None
    masked: bool


def clean_prompt(prompt: str) -> str:
    """Do to a prompt what OpenAI's and open_clip's tokenizer do before they split it.

    HTML entities become characters, curly quotes straight, white space single. Of the repairs of
    ftfy that they call, this has the ones that make a difference in DSG-1k, TIFA v1.0, HPS v2's
    photo prompts and ImageReward's test set; broken encodings and ligatures stay as they are.
    """
    text = html.unescape(html.unescape(prompt)).translate(_STRAIGHT)
    return re.sub(r"\s+", " ", unicodedata.normalize("NFC", text)).strip()


def _keep_end(ids: list[int], max_tokens: int) -> list[int]:
    return ids if len(ids) <= max_tokens else [*ids[: max_tokens - 1], ids[-1]]


def _drop_end(ids: list[int], max_tokens: int) -> list[int]:
    return ids[:max_tokens]


PROMPT_RULES: dict[str, PromptRule] = {
    "open_clip": PromptRule(
        "prompts cleaned as by open_clip, the end kept when cut, padded with 0, causal mask alone",
        clean_prompt,
        _keep_end,
        pad_id=0,
        masked=False,
    ),
    # Without its end token a long prompt's feature is that of another token; so it is published.
    "torchmetrics": PromptRule(
        "prompts as given, the end lost when cut, padded by the tokenizer, padding masked",
        str,
        _drop_end,
        pad_id=None,
        masked=True,
    ),
    "transformers": PromptRule(
        "prompts as given, the end kept when cut, padded by the tokenizer, padding masked",
        str,
        _keep_end,
        pad_id=None,
        masked=True,
    ),
}


def describe_prompts(prompt_rule: str, prefix: str, max_tokens: int) -> str:
    """Say in words how prompts are prepared."""
    words = choose("prompt rule", prompt_rule, PROMPT_RULES).words
    return f"{words}, at most {max_tokens} tokens" + (f", prefix {prefix!r}" if prefix else "")


def prompt_tokenizer(
    directory: Path,
    prompt_rule: str,
    *,
    prefix: str,
    max_tokens: int,
    vocab_size: int,
    end_id: int | None,
) -> Callable[[Sequence[str]], Tokens]:
    """Read a tokenizer and bind it to a rule.

    Args:
        directory: in transformers' layout.
        prompt_rule: a key of `PROMPT_RULES`.
        prefix: put before each prompt.
        max_tokens: prompts are cut and padded to as many.
        vocab_size: rows of the text tower's embedding.
        end_id: the text tower's state at this token is the text's feature, so it must be there;
            None if the tower does not look for it.

    Raises:
        MissingDataError: the tokenizer is not there.
        RecordError: it is of another model.
    """
    import torch
    from transformers import AutoTokenizer

    rule = choose("prompt rule", prompt_rule, PROMPT_RULES)
    if not (directory / "tokenizer_config.json").exists():
        raise MissingDataError(f"{directory}/tokenizer_config.json: not found; run `dvc pull`")
    tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    # transformers makes up a tokenizer of a few tokens where its files are missing.
    if len(tokenizer) != vocab_size:
        raise RecordError(
            f"{directory}: the tokenizer has {len(tokenizer)} tokens, the text tower {vocab_size}; "
            "its files are missing or of another model"
        )
    # 2 is CLIP's historical value: the tower takes the highest id, which must be the end token.
    highest = tokenizer.eos_token_id == len(tokenizer) - 1
    if end_id not in (None, tokenizer.eos_token_id) and not (end_id == 2 and highest):
        raise RecordError(
            f"{directory}: the text tower looks for end token {end_id}, the tokenizer's is "
            f"{tokenizer.eos_token_id}; config.json and tokenizer must be of one model"
        )
    pad_id = tokenizer.pad_token_id if rule.pad_id is None else rule.pad_id

    def tokenize(prompts: Sequence[str]) -> Tokens:
        texts = [rule.clean(prefix + prompt) for prompt in prompts]
        whole = tokenizer(texts, add_special_tokens=True)["input_ids"]
        kept = [rule.cut(ids, max_tokens) for ids in whole]
        input_ids = torch.full((len(kept), max_tokens), pad_id, dtype=torch.long)
        mask = torch.full_like(input_ids, 0 if rule.masked else 1)
        for row, ids in enumerate(kept):
            input_ids[row, : len(ids)] = torch.tensor(ids)
            mask[row, : len(ids)] = 1
        return Tokens(input_ids, mask, [len(ids) > max_tokens for ids in whole])

    return tokenize
