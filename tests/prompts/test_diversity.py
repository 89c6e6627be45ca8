"""ROUGE-L against rouge-score and by hand."""

import random
from collections.abc import Sequence
from fractions import Fraction

import pytest
from rouge_score.rouge_scorer import RougeScorer

from selma.pocket.skills import DRAW, TRAINED_SKILLS, write_prompt
from selma.prompts.diversity import Near, PromptIndex, words

SCORER = RougeScorer(["rougeL"], use_stemmer=False)


def index_of(*texts: str) -> PromptIndex:
    index = PromptIndex()
    for number, text in enumerate(texts):
        index.add(f"p{number}", text)
    return index


def exact(first: str, second: str) -> Fraction:
    """rouge-score's F without its rounding."""
    total = len(words(first)) + len(words(second))
    score = SCORER.score(first, second)["rougeL"].fmeasure
    return Fraction(round(score * total / 2) * 2, total or 1)


def nearest_by_rouge_score(texts: Sequence[str], query: str) -> Near:
    scores = [exact(text, query) for text in texts]
    best = max(scores, default=Fraction(0))
    return Near(f"p{scores.index(best)}" if best else None, float(best))


def test_a_score_can_be_worked_out_by_hand():
    # common subsequence "a red circle" of 3 words, texts of 4 and 6 words: 2·3 / 10
    near = index_of("a red circle above a square").nearest("a small red circle")
    assert near == Near("p0", 0.6)


def test_order_of_words_counts():
    assert index_of("one two three four").nearest("four three two one").rouge_l == 0.25


def test_equal_texts_score_one_whatever_their_case_and_punctuation():
    assert index_of("A red circle, a star!").nearest("a RED circle a star").rouge_l == 1.0


def test_a_score_at_the_limit_is_not_above_it():
    # 8 of 10 words: rouge-score gives 0.8000000000000002
    near = index_of("a b c d e f g h x y").nearest("a b c d e f g h v w")
    assert near.rouge_l == 0.8


def test_of_equally_near_prompts_the_first_is_named():
    assert index_of("a cat", "one red dog", "two red dogs").nearest("red").prompt_id == "p1"


def test_nothing_in_common_has_no_nearest():
    assert index_of("red circle").nearest("blue star").prompt_id is None
    assert index_of().nearest("blue star").prompt_id is None
    assert index_of("red circle").nearest("?!").rouge_l == 0.0


def test_a_prompt_without_words_takes_no_other_prompts_place():
    index = index_of("...", "red circle", "", "blue star")
    assert index.nearest("blue star") == Near("p3", 1.0)


def test_words_are_those_of_rouge_score():
    assert words("It's Größe-2, 3½ CAFÉ_x") == ["it", "s", "gr", "e", "2", "3", "caf", "x"]


def test_words_in_another_order_do_not_hide_a_prompt_that_keeps_it():
    """The bound of each of many prompts is higher than the best score, which a later one has."""
    texts = ["f e d c b a"] * 100 + ["a b c d x y"] + ["f e d c b a"] * 100
    assert index_of(*texts).nearest("a b c d e f") == Near("p100", 2 / 3)


def test_a_text_may_share_more_words_than_a_byte_can_count():
    text = " ".join(map(str, range(300)))
    assert index_of("0 1", text).nearest(text) == Near("p1", 1.0)


WORDS = [*"abcdefg", "Circle", "rot-blau", "ß", "7", "don't"]
NUMBERS = [f"w{number}" for number in range(2000)]


@pytest.mark.parametrize(
    ("vocabulary", "longest", "stored", "queries"),
    [
        (WORDS[:2], 9, 300, 20),
        (WORDS, 12, 400, 20),
        (WORDS, 70, 150, 10),
        (WORDS, 300, 15, 6),
        (NUMBERS[:40], 8, 600, 10),
        (NUMBERS, 30, 100, 10),  # more words than columns
    ],
)
def test_the_nearest_of_random_texts_is_that_of_rouge_score(
    vocabulary: list[str], longest: int, stored: int, queries: int
):
    """22,590 pairs in all; some words are more frequent than others, as in a language."""
    rng = random.Random(longest)
    weights = [1 / rank for rank in range(1, len(vocabulary) + 1)]

    def draw() -> str:
        return " ".join(rng.choices(vocabulary, weights, k=rng.randint(0, longest)))

    texts = [draw() for _ in range(stored)]
    index = index_of(*texts)
    for query in (draw() for _ in range(queries)):
        assert index.nearest(query) == nearest_by_rouge_score(texts, query)


def test_words_that_share_a_column_are_still_told_apart():
    """Their number alone would be the same in all these texts."""
    index = index_of(*NUMBERS, "w1999 w300 w1500")
    for query in ("w300", "w1999 w1743", "w1500 w300", "w1743 w1487 w1231"):
        texts = [*NUMBERS, "w1999 w300 w1500"]
        assert index.nearest(query) == nearest_by_rouge_score(texts, query)


UNUSUAL = [
    "İSTANBUL ıß", "naïve café", "x²+y³", "a\u0301b", "ﬁne ﬂour", "K\u212a", "1,000.5", "a_b__c",
    "don\u2019t", "\u00a0a\u2003b\n\tc", "٣ cats", "ＡＢＣ", "-", "", "A" * 300,
]  # fmt: skip


def test_unusual_texts_are_split_and_scored_as_in_rouge_score():
    texts = [*UNUSUAL, " ".join(UNUSUAL)]
    index = index_of(*texts)
    for query in (*UNUSUAL, " ".join(reversed(UNUSUAL))):
        assert index.nearest(query) == nearest_by_rouge_score(texts, query)


@pytest.mark.parametrize("limit", [Fraction(4, 5), Fraction(2, 3), Fraction(1, 2)])
def test_whether_a_prompt_is_too_near_is_decided_as_by_rouge_score(limit: Fraction):
    """Only exactly at the limit may they differ: there rouge-score's own rounding decides."""
    rng, at_limit, decided = random.Random(7), 0, set()
    for _ in range(1500):
        first, second = (" ".join(rng.choices("abcd", k=rng.randint(1, 12))) for _ in range(2))
        near = index_of(first).nearest(second).rouge_l > float(limit)
        assert near == (exact(first, second) > limit)
        if exact(first, second) == limit:
            at_limit += 1
        else:
            assert near == (SCORER.score(first, second)["rougeL"].fmeasure > float(limit))
            decided.add(near)
    assert at_limit > 0 and decided == {True, False}


@pytest.mark.parametrize("skill", TRAINED_SKILLS)
def test_a_run_keeps_what_rouge_score_would_keep_and_names_the_same_nearest(skill: str):
    rng = random.Random(1)
    index, kept = PromptIndex(), list[str]()
    for _ in range(60):
        prompt = write_prompt(skill, DRAW[skill](rng), rng)
        near = index.nearest(prompt)
        assert near == nearest_by_rouge_score(kept, prompt)
        if near.rouge_l <= 0.65:
            index.add(f"p{len(kept)}", prompt)
            kept.append(prompt)
    assert 10 < len(kept) < 60
