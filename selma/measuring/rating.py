"""The act of rating: how well pictures fit their training prompts; nothing of a benchmark is read.

A rater is a preference scorer, or faithfulness: the score that DSG or TIFA gives a judge's answers
to questions that an LLM writes for the prompt itself.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.core.choices import choose
from selma.core.errors import BackendError, RecordError
from selma.core.files import read_json, write_json
from selma.core.shards import work_off
from selma.judges.loading import describe_judge, judge_title, load_judge, row_settings
from selma.judges.normalise import NORMALISERS
from selma.judges.protocol import Judge, Question
from selma.llm.generators import TextGenerator
from selma.measuring.preferring import load_scorer
from selma.metrics.dsg import score_dsg
from selma.metrics.tifa import load_mapping, score_tifa
from selma.pictures.png import decode_png
from selma.questions.generation import write_questions
from selma.questions.prompt_files import Prompt
from selma.scorers.clip_models import Scorer
from selma.scorers.preference import SCORERS, score_pairs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Row = Mapping[str, Any]
Pictures = Sequence["NDArray[np.uint8]"]  # each (H, W, 3), of any sizes
Score = Callable[[Sequence[Row], Sequence[Row]], tuple[list[dict[str, Any]], dict[str, Any]]]


@dataclass(frozen=True)
class Rating:
    """A picture's rating; NaN if nobody could ask about its prompt."""

    value: float
    replies: int = 0  # of the judge
    no_answers: int = 0  # replies among them that are no answer, and count as wrong


class Rater(ABC):
    """Rates pictures by the prompts that they were drawn for; higher is better."""

    about: Mapping[str, Any]  # in JSON's types, what decides a rating
    batch_size: int  # pictures at a time
    no_answer_max: float  # the share of the judge's replies that may be no answer

    def prepare(self, prompts: Sequence[str]) -> None:  # noqa: B027
        """Do all that needs no picture: faithfulness has questions written."""

    @abstractmethod
    def rate_each(self, prompts: Sequence[str], pictures: Pictures) -> list[Rating]:
        """Rate pictures, each against its own prompt, whatever else is rated in the same call."""

    def rate(self, prompts: Sequence[str], pictures: Pictures) -> "NDArray[np.float64]":
        """Rate as `rate_each`; (N,), NaN where nobody could ask about a prompt."""
        import numpy as np

        cuts = (slice(at, at + self.batch_size) for at in range(0, len(prompts), self.batch_size))
        ratings = [one for cut in cuts for one in self.rate_each(prompts[cut], pictures[cut])]
        return np.array([one.value for one in ratings], np.float64)


class ScorerRater(Rater):
    """A preference scorer: PickScore, ImageReward, HPS or CLIPScore, on its own scale."""

    no_answer_max = 0.0

    def __init__(self, scorer: Scorer, kind: str, batch_size: int) -> None:
        """Take a loaded scorer of a kind of `SCORERS`."""
        self._scorer, self._kind, self.batch_size = scorer, kind, batch_size
        self.about = {**scorer.about, "metric": kind}

    def rate_each(self, prompts: Sequence[str], pictures: Pictures) -> list[Rating]:
        where = f"{self._kind}: a rating of pictures of {prompts[0]!r} …" if prompts else ""
        scored = score_pairs(pictures, prompts, self._scorer, where) if prompts else []
        return [Rating(value) for value, _ in scored]


class FaithfulnessRater(Rater):
    """The share in [0, 1] of a prompt's questions that the judge answers as the prompt wants.

    The questions are those that the LLM writes for the prompt alone, so a rating depends on prompt
    and picture, and on no other prompt.
    """

    def __init__(
        self, judge: Judge, score: Score, write: Callable[[Sequence[str]], Mapping[str, Row]],
        normalise: Callable[[str], str], *, about: Mapping[str, Any], batch_size: int,
        no_answer_max: float,
    ) -> None:  # fmt: skip
        """Take who asks, answers and scores; `write` makes benchmark rows of prompts, by prompt."""
        self._judge, self._score, self._write, self._normalise = judge, score, write, normalise
        self._questions: dict[str, Row | None] = {}
        self.about, self.batch_size, self.no_answer_max = about, batch_size, no_answer_max

    def prepare(self, prompts: Sequence[str]) -> None:
        new = sorted(set(prompts) - set(self._questions))
        written = self._write(new) if new else {}
        self._questions |= {prompt: written.get(prompt) for prompt in new}

    def rate_each(self, prompts: Sequence[str], pictures: Pictures) -> list[Rating]:
        self.prepare(prompts)
        rows = [self._questions[prompt] for prompt in prompts]
        asked = [
            ({**row, "item_id": f"{place:09d}"}, picture)
            for place, (row, picture) in enumerate(zip(rows, pictures, strict=True))
            if row is not None
        ]
        rated = iter(self._rate(asked) if asked else [])
        return [Rating(math.nan) if row is None else next(rated) for row in rows]

    def _rate(self, asked: "Sequence[tuple[Row, NDArray[np.uint8]]]") -> list[Rating]:
        """Rate pictures that have questions, each as an item of its own."""
        items, pictures = [row for row, _ in asked], [picture for _, picture in asked]
        texts = [
            [Question(q["question"], tuple(q["choices"])) for q in item["questions"]]
            for item in items
        ]
        said = self._judge(pictures, texts)
        if [len(own) for own in said] != [len(own) for own in texts]:
            got, want = sum(map(len, said)), sum(map(len, texts))
            raise BackendError(f"the judge gave {got} answers to {want} questions")
        return [self._one(item, replies) for item, replies in zip(items, said, strict=True)]

    def _one(self, item: Row, replies: Sequence[str]) -> Rating:
        fixed = {"item_id": item["item_id"], "sample": 0, "judge": "", "revision": ""}
        answers = [
            {**fixed, "question_id": question["question_id"], "raw_answer": raw,
             "answer": self._normalise(raw)}
            for question, raw in zip(item["questions"], replies, strict=True)
        ]  # fmt: skip
        (scored,), about = self._score([item], answers)
        return Rating(scored["score"], len(replies), about["n_no_answer"])


def load_rater(
    row: Row, *, judge: Row | None, generator: TextGenerator | None, seed: int, device: str,
    replies: Path,
) -> Rater:  # fmt: skip
    """Load the rater of a row of `raters`.

    Args:
        row: its values. Of a scorer: kind, path, version, antialias and batch_size as in
            `preferences`. Of faithfulness: kind (dsg, tifa), template, policy or mapping and path
            as in `measures`, retries, no_answer_max.
        judge: the row of `judges` that answers for faithfulness.
        generator: the LLM that writes the questions for it.
        seed: of the run; what is asked about a prompt follows from it and the prompt.
        device: of the scorer.
        replies: a file where a judge that is paid for keeps each reply.

    Raises:
        ConfigError, MissingDataError, MissingDependencyError, RecordError: as `load_scorer` and
            `load_judge`.
    """
    if row["kind"] in SCORERS:
        options = {"version": row["version"], "antialias": row["antialias"], "device": device}
        scorer = load_scorer(row["kind"], Path(row["path"]), **options)
        return ScorerRater(scorer, row["kind"], row["batch_size"])
    score_by = choose("kind of rater", row["kind"], FAITHFULNESS | dict.fromkeys(SCORERS))
    assert judge is not None and generator is not None and score_by is not None
    settings = row_settings(judge, template=row["template"])
    loaded = load_judge(judge["kind"], settings, replies)
    described = describe_judge(loaded.about, settings)
    title = judge_title(judge["kind"], described)

    def write(prompts: Sequence[str]) -> dict[str, Row]:
        written = write_questions(
            row["kind"], [Prompt(prompt, prompt, "") for prompt in prompts], generator,
            retries=row["retries"], seed=seed, advance=lambda _: None,
        )  # fmt: skip
        return {one["prompt"]: one for one in written.rows}

    return FaithfulnessRater(
        loaded, score_by(row), write, choose("normaliser", judge["normalise"], NORMALISERS),
        about={"metric": row["kind"], "judge": title, **described},
        batch_size=judge["batch_size"], no_answer_max=row["no_answer_max"],
    )  # fmt: skip


def _by_dsg(row: Row) -> Score:
    def score(items: Sequence[Row], answers: Sequence[Row]) -> Any:
        return score_dsg(items, answers, policy=row["policy"], mean="prompt", no_answer_max=1.0)

    return score


def _by_tifa(row: Row) -> Score:
    mapping = load_mapping(row["mapping"], row["path"], [], [])

    def score(items: Sequence[Row], answers: Sequence[Row]) -> Any:
        return score_tifa(items, answers, mapping=mapping, no_answer_max=1.0)

    return score


FAITHFULNESS: dict[str, Callable[[Row], Score] | None] = {"dsg": _by_dsg, "tifa": _by_tifa}


def rate_rows(
    rows: Sequence[Row], rater: Rater, *, name: str, directory: Path, advance: Callable[[int], None]
) -> list[float]:
    """Rate the pictures of rows of an images table; resumes, and several processes share the work.

    Args:
        rows: in an order that does not change; prompt_id, sample, prompt and image are read.
        rater: who rates.
        name: the rater's, which its files in `directory` and messages bear.
        directory: keeps the ratings of each batch.
        advance: called with the number of pictures after each batch.

    Returns:
        A rating for each row, NaN where nobody could ask about the prompt.

    Raises:
        BackendError: the judge or the LLM failed.
        RecordError: a picture cannot be read, or too many of the judge's replies are no answer.
    """
    rater.prepare([row["prompt"] for row in rows])

    def path_of(number: int) -> Path:
        return directory / f"ratings-{name}-{number:06d}.json"

    def kept(number: int, _: Sequence[Row]) -> list[Rating] | None:
        path = path_of(number)
        found = read_json(path) if path.exists() else None
        return found and [Rating(math.nan if v is None else v, *counts) for v, *counts in found]

    def make(number: int, batch: Sequence[Row]) -> list[Rating]:
        pictures = [
            decode_png(row["image"]["bytes"], f"{row['prompt_id']}/{row['sample']}")
            for row in batch
        ]
        ratings = rater.rate_each([row["prompt"] for row in batch], pictures)
        write_json(
            path_of(number),
            [(None if math.isnan(r.value) else r.value, r.replies, r.no_answers) for r in ratings],
        )
        return ratings

    batches = work_off(rows, rater.batch_size, kept=kept, make=make, advance=advance)
    ratings = [one for batch in batches for one in batch]
    _check_answers(ratings, name, rater.no_answer_max)
    return [one.value for one in ratings]


def _check_answers(ratings: Sequence[Rating], name: str, most: float) -> None:
    none, replies = sum(r.no_answers for r in ratings), sum(r.replies for r in ratings)
    if none > most * replies:
        raise RecordError(
            f"rater {name}: {none} of {replies} replies ({none / replies:.1%}) are no answer, at "
            f"most {most:.1%} may be; ask with another template, normaliser or judge"
        )
