"""VQAScore: how probable a chat model finds it that it says "Yes" a picture shows a prompt.

Source: VQAScore, arXiv 2404.01291. We differ from the published score of CLIP-FlanT5:

1. The model is any chat model that `chat_model` loads, in its own chat template and with its own
   pixels; the published one has a frame of its own and pads pictures to a square.
2. Which tokens are the reply is read off the chat template: what it writes behind an open turn for
   a reply of "Yes". The published one takes the tokenizer's tokens of "Yes" and its end token.
3. Nothing is normalised across models: scores compare only within one model and variant.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from selma.core.choices import choose
from selma.core.errors import RecordError
from selma.judges.chat.files import question
from selma.judges.chat.model import ChatModel, load_chat_model
from selma.judges.protocol import JudgeSettings

if TYPE_CHECKING:
    import torch

QUESTION = 'Does this figure show "{}"? Please answer yes or no.'


@dataclass(frozen=True)
class Reply:
    """A word as the model would write it.

    Attributes:
        tokens: of the word alone; the first begins it.
        end: the token that ends the model's turn.
    """

    tokens: tuple[int, ...]
    end: int


@dataclass(frozen=True)
class Replies:
    """The two words that a variant may look at."""

    yes: Reply
    no: Reply


# Variants: (N, T, V) float32 log-probabilities of each next token while "Yes" is written → (N,).
def p_yes(steps: "torch.Tensor", replies: Replies) -> "torch.Tensor":
    """Compute the probability that the reply's first token is that of "Yes"."""
    return steps[:, 0, replies.yes.tokens[0]].exp()


def geometric_mean(steps: "torch.Tensor", replies: Replies) -> "torch.Tensor":
    """Compute exp(−mean cross-entropy) over all tokens of "Yes" and the end, as published."""
    tokens = (*replies.yes.tokens, replies.yes.end)
    of_reply = [steps[:, step, token] for step, token in enumerate(tokens)]
    return sum(of_reply[1:], of_reply[0]).div(len(tokens)).exp()


def yes_no(steps: "torch.Tensor", replies: Replies) -> "torch.Tensor":
    """Compute P("Yes") / (P("Yes") + P("No")) for the reply's first token."""
    yes, no = replies.yes.tokens[0], replies.no.tokens[0]
    return (steps[:, 0, yes] - steps[:, 0, no]).sigmoid()


VARIANTS = {"geometric-mean": geometric_mean, "p-yes": p_yes, "yes-no": yes_no}


class VqaScorer:
    """Scores pictures against prompts, in [0, 1], higher is better.

    Attributes:
        about: what decides the scores, in JSON's types.
        replies: the tokens that are looked at.
    """

    def __init__(self, chat: ChatModel, variant: str, pairs_per_batch: int) -> None:
        """Read off the tokens; use `load_vqascore`."""
        self._chat = chat
        self._score = choose("VQAScore variant", variant, VARIANTS)
        self._pairs_per_batch = pairs_per_batch
        self.replies = Replies(read_reply(chat, "Yes"), read_reply(chat, "No"))
        self.about: Mapping[str, Any] = {
            **chat.about,
            "decoding": {"kind": "probabilities"},
            "no_tokens": list(self.replies.no.tokens),
            "template": QUESTION,
            "variant": variant,
            "yes_end_token": self.replies.yes.end,
            "yes_tokens": list(self.replies.yes.tokens),
        }

    def __call__(
        self, pictures: Sequence[NDArray[np.uint8]], prompts: Sequence[str]
    ) -> list[float]:
        """Score N pictures, (H, W, 3) each, against a prompt each.

        A score does not depend on what else is scored in the same call, but for rounding. A prompt
        that cannot be put, or a score that is not finite, is a RecordError.
        """
        import torch

        scores: list[float] = []
        pairs = list(zip(pictures, prompts, strict=True))
        with torch.inference_mode():
            for start in range(0, len(pairs), self._pairs_per_batch):
                batch = pairs[start : start + self._pairs_per_batch]
                inputs = self._chat.inputs(
                    [self._chat.see(picture) for picture, _ in batch],
                    [QUESTION.format(prompt) for _, prompt in batch],
                )
                given = self._score(self._follow(inputs), self.replies)
                if not bool(torch.isfinite(given).all()):
                    raise RecordError(f"a score of prompts {batch[0][1]!r} … is not finite")
                scores += given.tolist()
        return scores

    def _follow(self, inputs: Mapping[str, Any]) -> "torch.Tensor":
        """Let the model write "Yes" and its end; give (N, T, V) log-probabilities on the way."""
        import torch

        tokens = (*self.replies.yes.tokens, self.replies.yes.end)
        length = inputs["input_ids"].shape[1]
        written = self._chat.generate(
            inputs,
            max_new_tokens=len(tokens),
            num_beams=1,
            output_logits=True,
            prefix_allowed_tokens_fn=lambda _, so_far: [tokens[len(so_far) - length]],
            return_dict_in_generate=True,
        )
        logits = torch.stack(written.logits, dim=1)  # (N, T, V), before any token is forbidden
        return logits.float().log_softmax(dim=-1)


def load_vqascore(settings: JudgeSettings, variant: str) -> VqaScorer:
    """Load a chat model as a scorer.

    Args:
        settings: of the model; template, beams and max_new_tokens do not matter, and
            questions_per_batch is the number of pairs at a time.
        variant: a key of `VARIANTS`. "geometric-mean" is the published score; "p-yes" ranks nearly
            alike at another level; "yes-no" ignores what else the model might say.

    Raises:
        ConfigError: there is no such variant.
        RecordError: the chat template does not show which tokens are "Yes"; else as `load_parts`.
    """
    choose("VQAScore variant", variant, VARIANTS)
    return VqaScorer(load_chat_model(settings), variant, settings.questions_per_batch)


def read_reply(chat: ChatModel, word: str) -> Reply:
    """Read off a model's chat template how it would write a word as its whole reply.

    The word's tokens are those behind the open turn, with white space that the tokenizer joins to
    the word (" Yes" may be one token); the end is the token behind the word if that is one of the
    model's end tokens, else its only end token.

    Raises:
        RecordError: the template writes something before the word, or its tokens are not cut where
            the turn opens.
    """
    tokenizer = chat.processor.tokenizer
    user = question(QUESTION.format("a"))
    said = {"role": "assistant", "content": [{"type": "text", "text": word}]}
    turn, whole = chat.render([user], ask=True), chat.render([user, said], ask=False)
    rest = whole[len(turn) :]
    if not whole.startswith(turn) or not rest.lstrip().startswith(word):
        raise RecordError(
            f"{chat.path}: chat template: behind an open turn it does not write {word!r} first: "
            f"{whole!r}"
        )

    def encode(text: str) -> list[int]:
        ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    opened = encode(turn)
    with_word = encode(turn + rest[: rest.index(word) + len(word)])
    tokens = with_word[len(opened) :]
    first = tokenizer.decode(tokens[:1]).strip()
    if with_word[: len(opened)] != opened or not first or not word.startswith(first):
        raise RecordError(
            f"{chat.path}: chat template: {word!r} has no tokens of its own behind {turn[-20:]!r}: "
            f"{tokenizer.convert_ids_to_tokens(with_word[-4:])}"
        )
    ends = chat.model.generation_config.eos_token_id
    ends = [ends] if isinstance(ends, int) else list(ends)
    behind = encode(whole)[len(with_word) :][:1]
    end = behind if behind and behind[0] in ends else ends
    if len(end) != 1:
        raise RecordError(
            f"{chat.path}: chat template: behind {word!r} comes "
            f"{tokenizer.convert_ids_to_tokens(behind)}, none of the end tokens "
            f"{tokenizer.convert_ids_to_tokens(ends)}"
        )
    return Reply(tuple(tokens), end[0])
