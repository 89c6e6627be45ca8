"""The words in which `selma score` prints a result."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def print_results(results: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print results for people, or as JSON: one object, or a list of several."""
    if as_json:
        value = results[0] if len(results) == 1 else list(results)
        print(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False))
        return
    if len(results) == 1:
        print("\n".join(_lines(results[0])))
        return
    width = max(len(result["policy"]) for result in results)
    for result in results:
        print(f"{result['policy'].ljust(width)}  {result['score']:.4f}{_interval(result)}")
    print("All numbers: --json. Tables and notes: one of them, by --policy and --mean.")


def _lines(result: Mapping[str, Any]) -> list[str]:
    policy = f", {result['policy']}" if result["policy"] else ""
    if result["metric"] == "clipscore":
        policy = f", variant {result['version']}"
    of = f" of {result['t2i_model']}" if result.get("t2i_model") else ""
    questions = f", {result['n_questions']} questions" if result["n_questions"] else ""
    unit = " %" if result["unit"] == "percent" else f" ({result['unit']})"
    lines = [
        f"{result['title']}{policy}{of}: {result['score']:.4f}{unit}{_interval(result)}",
        f"  {result['benchmark']}, {result['version']}; judge {result['judge']}"
        f" {result['revision']}".rstrip(),
        f"  preprocessing: {result['preprocessing']}",
        f"  {result['n_prompts']} prompts, {result['n_pictures']} pictures{questions}; "
        f"{100 * result['confidence']:g} % intervals: {result['resamples']} resamples of the "
        "prompts",
        *(f"  {note}" for note in _notes(result)),
    ]
    for title, cells in result["tables"].items():
        width = max([len(cell["name"]) for cell in cells] + [len(title)])
        lines.append(f"  {title.ljust(width)}     score  interval            prompts  questions")
        lines += [f"  {_cell(cell, width)}" for cell in cells]
    return lines


def _interval(result: Mapping[str, Any]) -> str:
    if result["low"] is None:
        return ", no interval: the prompts are all alike"
    return f" [{result['low']:.4f}, {result['high']:.4f}]"


def _notes(result: Mapping[str, Any]) -> Iterator[str]:
    """Say what a reader must know besides: coverage, unanswered items, truncation, controls."""
    if result["coverage"] < 1:
        yield (
            f"PARTIAL: {100 * result['coverage']:.2f} % of {result['n_wanted']} pictures are "
            f"scored; not comparable with a whole score. Left out: {'; '.join(result['left_out'])}"
        )
    if result.get("unanswered_count_0"):
        names = ", ".join(result["unanswered_count_0"])
        yield f"without any answer, counted 0 as by DSG's authors: {names}"
    if result.get("truncated"):
        yield f"the prompts of {result['truncated']} pictures were cut to the model's length"
    if result.get("nearly_yes"):
        yield (
            f"WARNING: {result['nearly_yes']} answers are no `yes` only by case, blanks or a mark; "
            "DSG counts the exact word (judges: --normalise)"
        )
    if "score_per_answered_question" in result:
        yield (
            f"over the {result['n_answered_questions']} answered questions: "
            f"{result['score_per_answered_question']:.4f} %"
        )
    if result["sample_deviation_over_prompts"] is not None:
        yield f"sample deviation over prompts: {result['sample_deviation_over_prompts']:.4f}"
    if result["power"] is not None:
        yield result["power"]["sentence"]
    yield from (f"control, {name}: {value:.4f}" for name, value in result["controls"].items())


def _cell(cell: Mapping[str, Any], width: int) -> str:
    bounds = "" if cell["low"] is None else f"[{cell['low']:.2f}, {cell['high']:.2f}]"
    return (
        f"{cell['name'].ljust(width)}  {cell['value']:8.4f}  {bounds.ljust(18)}  "
        f"{cell['n_prompts']:7d}  {cell['n_questions'] or '':>9}"
    )
