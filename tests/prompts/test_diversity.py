"""ROUGE-L against rouge-score and by hand."""

import random
from fractions import Fraction

import pytest
from rouge_score.rouge_scorer import RougeScorer

from selma.pocket.skills import DRAW, TRAINED_SKILLS, write_prompt
from selma.prompts.diversity import PromptIndex, words


def index_of(*texts: str) -> PromptIndex:
    index = PromptIndex()
    for number, text in enumerate(texts):
        index.add(f"p{number}", text)
    return index


def test_a_score_can_be_worked_out_by_hand():
    # common subsequence "a red circle" of 3 words, texts of 4 and 6 words: 2·3 / 10
    near = index_of("a red circle above a square").nearest("a small red circle")
    assert near.prompt_id == "p0"
    assert near.rouge_l == 0.6


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
    assert index.scores("blue star").tolist() == [0.0, 0.0, 0.0, 1.0]


def test_words_are_those_of_rouge_score():
    assert words("It's Größe-2, 3½ CAFÉ_x") == ["it", "s", "gr", "e", "2", "3", "caf", "x"]


@pytest.mark.parametrize("longest", [3, 9, 17, 70, 300])
def test_random_texts_score_as_in_rouge_score(longest: int):
    rng = random.Random(longest)
    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    alphabet = [*"abcdefg", "Circle", "rot-blau", "ß", "7", "don't"]

    def draw() -> str:
        return " ".join(rng.choices(alphabet, k=rng.randint(0, longest)))

    texts = [draw() for _ in range(300 if longest < 70 else 20)]  # more than one block
    index = index_of(*texts)
    for query in (draw() for _ in range(4)):
        expected = [scorer.score(text, query)["rougeL"].fmeasure for text in texts]
        assert index.scores(query).tolist() == pytest.approx(expected, abs=1e-12)


UNUSUAL = [
    "İSTANBUL ıß", "naïve café", "x²+y³", "a\u0301b", "ﬁne ﬂour", "K\u212a", "1,000.5", "a_b__c",
    "don\u2019t", "\u00a0a\u2003b\n\tc", "٣ cats", "ＡＢＣ", "-", "", "A" * 300,
]  # fmt: skip


def test_unusual_texts_are_split_and_scored_as_in_rouge_score():
    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    index = index_of(*UNUSUAL, " ".join(UNUSUAL))
    for query in (*UNUSUAL, " ".join(reversed(UNUSUAL))):
        expected = [
            scorer.score(text, query)["rougeL"].fmeasure for text in (*UNUSUAL, " ".join(UNUSUAL))
        ]
        assert index.scores(query).tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("limit", [Fraction(4, 5), Fraction(2, 3), Fraction(1, 2)])
def test_whether_a_prompt_is_too_near_is_decided_as_by_rouge_score(limit: Fraction):
    """Only exactly at the limit may they differ: there rouge-score's own rounding decides."""
    rng, at_limit, decided = random.Random(7), 0, set()
    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    for _ in range(1500):
        first, second = (rng.choices("abcd", k=rng.randint(1, 12)) for _ in range(2))
        near = index_of(" ".join(first)).nearest(" ".join(second)).rouge_l > float(limit)
        theirs = scorer.score(" ".join(first), " ".join(second))["rougeL"].fmeasure
        common = round(theirs * (len(first) + len(second)) / 2)
        exact = Fraction(2 * common, len(first) + len(second))
        assert near == (exact > limit)
        if exact == limit:
            at_limit += 1
        else:
            assert near == (theirs > float(limit))
            decided.add(near)
    assert at_limit > 0 and decided == {True, False}


@pytest.mark.parametrize("skill", TRAINED_SKILLS)
def test_prompts_score_as_in_rouge_score_while_the_index_grows(skill: str):
    rng = random.Random(1)
    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    index, earlier = PromptIndex(), list[str]()
    for number in range(25):
        prompt = write_prompt(skill, DRAW[skill](rng), rng)
        expected = [scorer.score(text, prompt)["rougeL"].fmeasure for text in earlier]
        assert index.scores(prompt).tolist() == pytest.approx(expected, abs=1e-12)
        index.add(str(number), prompt)
        earlier.append(prompt)
