"""`selma score dsg` and `selma score tifa`: answers, read or asked for, become scores."""

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from selma.benchmarks.answer_files import read_answers
from selma.commands.benchmark_input import aliases_of, benchmark_name, read_benchmark
from selma.commands.compare import bootstrap_of
from selma.commands.outputs import check_table_out
from selma.commands.score_result import Scored, print_results, result_of
from selma.comparing.breakdown import (
    Cell,
    prompt_cells,
    prompt_scores,
    question_cells,
    sample_deviation,
)
from selma.comparing.categories import question_scores
from selma.comparing.comparison import Bootstrap
from selma.core.choices import choose
from selma.core.errors import ConfigError, RecordError
from selma.core.tables import content_hash, read_about, write_table
from selma.metrics.dsg import DSG_MEANS, DSG_POLICIES, score_dsg
from selma.metrics.replies import NO_ANSWER_MAX
from selma.metrics.tifa import TIFA_MAPPINGS, load_mapping, score_tifa

Row = Mapping[str, Any]
PERCENT = 100.0
JUDGE_OPTIONS = (
    "judge_path", "dtype", "template", "normalise", "beams", "max_new_tokens",
    "questions_per_batch",
)  # fmt: skip


def score_answers(args: argparse.Namespace) -> None:
    """Score answers and print the results; with --images, have them given first."""
    _check_options(args)
    how = bootstrap_of(args)
    benchmark = read_benchmark(args)
    if args.images is not None:
        from selma.commands.judging import judge_pictures

        judge_pictures(args, benchmark)
    answers = _read_answers(args, benchmark)
    is_table = args.answers.suffix == ".parquet"
    judge_about = read_about(args.answers) if is_table else None
    score = _dsg if args.metric == "dsg" else _tifa
    scored = score(args, benchmark, answers, judge_about, how)
    about = {
        "benchmark": benchmark_name(args),
        "benchmark_sha256": content_hash(benchmark, "benchmark"),
        "t2i_model": args.t2i_model,
    }
    scored = [one.with_about(about) for one in scored]
    if args.out is not None:
        write_table(args.out, "scores", scored[0].rows, scored[0].about)
    print_results([result_of(one, PERCENT, how) for one in scored], as_json=args.json)


def _check_options(args: argparse.Namespace) -> None:
    """Refuse wrong options before a judge has worked for nothing."""
    check_table_out(args.out, "scores")
    if args.metric == "dsg":
        policies, means = _policies_and_means(args)
        if args.out is not None and len(policies) * len(means) > 1:
            raise ConfigError("--out: holds one score; choose one --policy and one --mean")
    else:
        choose("tifa mapping", args.mapping, TIFA_MAPPINGS)
        if args.sbert is not None and args.mapping != "sbert":
            raise ConfigError("--sbert: expected --mapping sbert, which it is for")
    if args.images is not None:
        if args.t2i_model is not None:
            raise ConfigError(
                "--t2i-model: chooses among given answers; leave it out with --images"
            )
        return
    asked = [name for name in JUDGE_OPTIONS if getattr(args, name) is not None]
    if asked:
        options = ", ".join("--" + name.replace("_", "-") for name in asked)
        raise ConfigError(f"{options}: expected --images, the pictures to look at")
    if args.judge is not None and args.answers.suffix == ".parquet":
        raise ConfigError(f"--judge: {args.answers} says itself who answered; leave it out")


def _policies_and_means(args: argparse.Namespace) -> tuple[list[str], list[str]]:
    policies = list(DSG_POLICIES) if "all" in args.policy else args.policy
    means = list(DSG_MEANS) if "all" in args.mean else args.mean
    for policy in policies:
        choose("dsg policy", policy, DSG_POLICIES)
    for mean in means:
        choose("dsg mean", mean, DSG_MEANS)
    return policies, means


def _read_answers(args: argparse.Namespace, benchmark: Sequence[Row]) -> list[dict[str, Any]]:
    """Read --answers; --judge names who gave a published file's, over its own name."""
    answers = read_answers(
        args.answers,
        benchmark,
        metric=args.metric,
        t2i_model=args.t2i_model,
        aliases=aliases_of(args.annotations),
    )
    if args.judge is None or args.images is not None:
        return answers
    named = {"judge": args.judge, "revision": args.judge_revision or "as named by the user"}
    return [{**answer, **named} for answer in answers]


def _dsg(
    args: argparse.Namespace,
    benchmark: Sequence[Row],
    answers: Sequence[Row],
    judge_about: Row | None,
    how: Bootstrap,
) -> list[Scored]:
    policies, means = _policies_and_means(args)
    yes = [{**answer, "answer": "yes"} for answer in answers]
    found = []
    for policy in policies:
        for mean in means:
            score = partial(
                score_dsg,
                benchmark,
                policy=policy,
                mean=mean,
                no_answer_max=NO_ANSWER_MAX,
                judge_about=judge_about,
                allow_partial=args.allow_partial,
            )
            rows, about = score(answers)
            tables = _dsg_tables(rows, benchmark, how)
            extra = _per_answered_question(rows, answers) | {"nearly_yes": _nearly_yes(answers)}
            found.append(Scored(rows, about, tables, {"always yes": score(yes)[0]}, extra))
    return found


def _tifa(
    args: argparse.Namespace,
    benchmark: Sequence[Row],
    answers: Sequence[Row],
    judge_about: Row | None,
    how: Bootstrap,
) -> list[Scored]:
    from selma.benchmarks.tifa import ELEMENT_TYPES

    score = partial(
        score_tifa,
        benchmark,
        no_answer_max=NO_ANSWER_MAX,
        judge_about=judge_about,
        allow_partial=args.allow_partial,
    )
    mapping = load_mapping(args.mapping, args.sbert, benchmark, answers)
    rows, about = score(answers, mapping=mapping)
    choices = {
        (row["item_id"], question["question_id"]): question["choices"]
        for row in benchmark
        for question in row["questions"]
    }
    first = [
        {**answer, "answer": choices[answer["item_id"], answer["question_id"]][0]}
        for answer in answers
    ]
    tables = {"source": prompt_cells(rows, lambda row: row["source"], PERCENT, how)}
    cells = question_cells(rows, lambda _item, _id, category: category or None, PERCENT, how)
    if cells:
        tables["element type"] = _in_order(cells, list(ELEMENT_TYPES))
    extra = _published_numbers(rows)
    return [Scored(rows, about, tables, {"first choice": score(first)[0]}, extra)]


def _published_numbers(rows: Sequence[Row]) -> dict[str, Any]:
    """Give the numbers under the names, and in the unit, of the package of TIFA's authors."""
    points: dict[str, list[float]] = {}
    for row in rows:
        for _, category, point in question_scores(row):
            points.setdefault(category, []).append(point)
    scores = prompt_scores(rows).values()
    return {
        "tifa_average": sum(scores) / len(scores),
        "tifa_stdev": sample_deviation(rows),
        "accuracy_by_type": {
            name: sum(found) / len(found) for name, found in points.items() if name
        },
    }


def _dsg_tables(
    rows: Sequence[Row], benchmark: Sequence[Row], how: Bootstrap
) -> dict[str, list[Cell]]:
    """Cut into DSG's prompt groups and sources, its broad types, and SELMA's Table 7."""
    from selma.benchmarks.dsg1k import SKILL_NAMES, broad_type, group_of

    elements = {
        (row["item_id"], question["question_id"]): question["element"]
        for row in benchmark
        for question in row["questions"]
    }

    def broad(item_id: str, question_id: int, _category: str) -> str:
        return broad_type(elements[item_id, question_id])

    def skill(_item_id: str, _question_id: int, category: str) -> str:
        return SKILL_NAMES.get(category, "(rest)")

    tables = {}
    try:
        tables["group"] = prompt_cells(rows, lambda row: group_of(row["item_id"]), PERCENT, how)
        tables["broad type"] = question_cells(rows, broad, PERCENT, how)
        cells = question_cells(rows, skill, PERCENT, how)
        tables["skill"] = _in_order(cells, [*SKILL_NAMES.values(), "(rest)"])
    except RecordError:  # another benchmark than DSG-1k: its own categories are its skills
        tables = {
            "skill": question_cells(rows, lambda _item, _id, category: category, PERCENT, how),
        }
    tables["source"] = prompt_cells(rows, lambda row: row["source"], PERCENT, how)
    return tables


def _in_order(cells: Sequence[Cell], names: Sequence[str]) -> list[Cell]:
    """Put cells into the order of a paper's table; others come after it."""
    place = {name: number for number, name in enumerate(names)}
    return sorted(cells, key=lambda cell: (place.get(cell.name, len(place)), cell.name))


def _nearly_yes(answers: Sequence[Row]) -> int:
    """Count the answers that would be "yes" but for case, blanks or a mark at the end."""
    texts = [answer["answer"] for answer in answers]
    return sum(text != "yes" and text.strip().lower().rstrip(".!,") == "yes" for text in texts)


def _per_answered_question(rows: Sequence[Row], answers: Sequence[Row]) -> dict[str, float]:
    """Give the mean over the questions that have an answer, beside that over all questions."""
    points = sum(point for row in rows for _, _, point in question_scores(row))
    asked = {(row["item_id"], row["sample"]) for row in rows}
    n_answers = sum((answer["item_id"], answer["sample"]) in asked for answer in answers)
    return {
        "n_answered_questions": n_answers,
        "score_per_answered_question": PERCENT * points / n_answers,
    }
