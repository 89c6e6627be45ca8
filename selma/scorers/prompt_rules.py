"""How prompts become token ids for a scorer; each published metric has its own rule."""

import html
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from selma.core.choices import choose
from selma.core.errors import MissingDataError, RecordError

if TYPE_CHECKING:
    import torch


_STRAIGHT = str.maketrans("\u02bc\u2018\u2019\u201a\u201b“”„‟", "'" * 5 + '"' * 4)


@dataclass(frozen=True)
class Tokens:
    """Prompts as a text tower reads them."""

    input_ids: "torch.Tensor"  # (N, T)
    attention_mask: "torch.Tensor"  # (N, T), 0 for padding that nothing attends to
    truncated: list[bool]  # for each prompt, whether its end was cut off


@dataclass(frozen=True)
class PromptRule:
    """How prompts become token ids of one length."""

    words: str  # what it does, for the record
    clean: Callable[[str], str]  # the prompt → the text that the tokenizer gets
    cut: Callable[[list[int], int], list[int]]  # ids with start and end, most tokens → those kept
    pad_id: int | None = None  # what follows the end; None is the tokenizer's own
    masked: bool = True  # whether the padding is masked


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
        lambda ids, max_tokens: ids[:max_tokens],
    ),
    "transformers": PromptRule(
        "prompts as given, the end kept when cut, padded by the tokenizer, padding masked",
        str,
        _keep_end,
    ),
}


def describe_prompts(prompt_rule: str, prefix: str, max_tokens: int) -> str:
    words = choose("prompt rule", prompt_rule, PROMPT_RULES).words
    return f"{words}, at most {max_tokens} tokens" + (f", prefix {prefix!r}" if prefix else "")


def prompt_tokenizer(
    directory: Path,
    prompt_rule: str,
    *,
    max_tokens: int,
    vocab_size: int,
    end_id: int | None = None,
    prefix: str = "",
) -> Callable[[Sequence[str]], Tokens]:
    """Read a tokenizer in transformers' layout and bind it to a rule, a key of `PROMPT_RULES`.

    `prefix` goes before each prompt; prompts are cut and padded to `max_tokens`; the text tower's
    embedding has `vocab_size` rows. Its state at the token `end_id` is the text's feature, so it
    must be there; None if the tower does not look for it.

    Raises MissingDataError without the tokenizer, RecordError if it is of another model.
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
