"""Makes the pocket world's CLIPTokenizer: byte-level BPE, so that any text tokenises."""

import itertools
import random
from collections import Counter
from typing import TYPE_CHECKING

from selma.core.seeds import derive_seed
from selma.pocket.skills import DRAW, write_prompt

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

MAX_TOKENS = 48
VOCABULARY_SIZE = 1024
PROMPTS_PER_SKILL = 4000  # that the vocabulary is learnt from
# Everyday words, so that ordinary English does not fall apart into single letters.
ENGLISH = """\
the of and to in is that it was for on are as with his they at be this from have or by one had not
but what all were when we there can an your which their said if do will each about how up out them
then she many some so these would other into has more two like him see time could no make than
first been its who now people my made over did down only way find use may water long little very
after words called just where most know get through back much before go good new write our me man
too any day same right look think also around another came come work three word must because does
part even place well such here take why things help put years different away again off went old
number photo image picture drawing painting scene background dog cat house tree person woman
holding street several group pair shape object colour color size left right above below between
behind front"""


def corpus(seed: int) -> list[str]:
    texts = [ENGLISH] * 20
    for skill, draw in DRAW.items():
        rng = random.Random(derive_seed(seed, "tokenizer", skill))
        texts += [write_prompt(skill, draw(rng), rng) for _ in range(PROMPTS_PER_SKILL)]
    return texts


def learn_merges(texts: list[str], number: int) -> list[tuple[str, str]]:
    """Learn byte-pair merges over whole words; ties go to the pair that sorts first.

    (The `tokenizers` trainer breaks ties in hash order, so its files differ from run to run.)
    """
    words = Counter(word for text in texts for word in text.split())
    spelt = {word: (*word[:-1], word[-1] + "</w>") for word in words}
    merges: list[tuple[str, str]] = []
    while len(merges) < number:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, parts in spelt.items():
            for pair in itertools.pairwise(parts):
                pairs[pair] += words[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        spelt = {word: _merged(parts, best) for word, parts in spelt.items()}
    return merges


def _merged(parts: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    result: list[str] = []
    for part in parts:
        merged = bool(result) and (result[-1], part) == pair
        result.append(result.pop() + part if merged else part)
    return tuple(result)


def build_tokenizer(seed: int) -> "CLIPTokenizer":
    """Learn a vocabulary of ``VOCABULARY_SIZE`` tokens; the same seed gives the same files."""
    from tokenizers import pre_tokenizers
    from transformers import CLIPTokenizer

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    form = CLIPTokenizer().backend_tokenizer
    texts = [
        " ".join(word for word, _ in form.pre_tokenizer.pre_tokenize_str(text.lower()))
        for text in corpus(seed)
    ]
    tokens = [*alphabet, *(letter + "</w>" for letter in alphabet)]
    merges = learn_merges(texts, VOCABULARY_SIZE - len(tokens) - 2)
    tokens += dict.fromkeys(left + right for left, right in merges)
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: index for index, token in enumerate(tokens)},
        merges=merges,
        model_max_length=MAX_TOKENS,
    )
