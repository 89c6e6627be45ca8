"""Runs one preference scorer over one model's pictures: samples table in, scores table out."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selma.core.choices import choose
from selma.core.errors import ConfigError, RecordError
from selma.core.seeds import derive_seed
from selma.core.tables import content_hash, read_table, write_table
from selma.runtime.progress import progress
from selma.scorers.preference import SCORERS, score_samples

logger = logging.getLogger(__name__)


def score_table(
    metric: str,
    samples: Path,
    benchmark: Path,
    out: Path,
    *,
    directory: str,
    version: str,
    batch_size: int,
    device: str = "cpu",
    antialias: bool | None = None,
    shuffle_seed: int | None = None,
) -> None:
    """Score every picture of a samples table.

    Args:
        metric: a key of `SCORERS`.
        samples: the table to read.
        benchmark: the table that the samples' prompts come from.
        out: the scores table to write.
        directory: the scorer's weights, kept as who judged.
        version: what the score is: the version of HPS, the variant of CLIPScore, else free.
        batch_size: pictures at a time.
        device: "cpu" or "cuda".
        antialias: HPS only, see `load_hps`.
        shuffle_seed: not None scores each picture against another prompt, see `shuffled_prompts`.

    Raises:
        ConfigError: an option is wrong or not the metric's.
        MissingDataError: a table or the weights are not there.
        RecordError: they cannot be read or do not belong together.
    """
    rows = read_table(samples, "samples")
    items = {row["item_id"]: row for row in read_table(benchmark, "benchmark")}
    for row in rows:
        item = items.get(row["item_id"])
        if item is None or item["prompt"] != row["prompt"]:
            raise RecordError(
                f"{samples}: item {row['item_id']!r} with prompt {row['prompt']!r} is not in "
                f"{benchmark}; score the samples with the benchmark they were drawn for"
            )
    if shuffle_seed is not None:
        others = shuffled_prompts(
            {item_id: item["prompt"] for item_id, item in items.items()}, shuffle_seed
        )
        rows = [{**row, "prompt": others[row["item_id"]]} for row in rows]
    options: dict[str, Any] = {} if antialias is None else {"antialias": antialias}
    if options and metric != "hps":
        raise ConfigError(f"antialias is an option of hps, not of {metric!r}; leave it out")
    load = choose("preference scorer", metric, SCORERS)
    scorer = load(Path(directory), version, device=device, **options)
    with progress(len(rows), f"{metric} {samples.parent.name}") as advance:
        scores, about = score_samples(
            rows,
            scorer,
            metric=metric,
            judge=directory,
            sources={item_id: item["source"] for item_id, item in items.items()},
            batch_size=batch_size,
            advance=advance,
        )
    scored = len({row["item_id"] for row in scores})
    about |= {
        "benchmark": benchmark.stem,
        "benchmark_sha256": content_hash(items.values(), "benchmark"),
        "n_items": scored,
        "n_wanted": len(items),
        "coverage": scored / max(1, len(items)),
        "prompts": "own" if shuffle_seed is None else f"another item's, seed {shuffle_seed}",
    }
    write_table(out, "scores", scores, about=about)
    if scored < len(items):
        logger.warning(
            "%s: %d of %d items have no picture", samples, len(items) - scored, len(items)
        )
    mean = sum(row["score"] for row in scores) / max(1, len(scores))
    logger.info("%s of %d pictures: mean %.4f, wrote %s", metric, len(scores), mean, out)


def shuffled_prompts(prompts: Mapping[str, str], seed: int) -> dict[str, str]:
    """Give each item the prompt of another, as a control: such scores should be clearly lower.

    The different prompts stand on a circle, in an order that seed and prompt alone decide, and each
    is replaced by the next one. So no item keeps its prompt, also if two items share one, and what
    replaces a prompt changes only if a prompt is put between the two.

    Args:
        prompts: item id → its prompt.
        seed: of the order.

    Returns:
        Item id → another item's prompt.

    Raises:
        RecordError: all prompts are the same.
    """
    circle = sorted(
        set(prompts.values()), key=lambda text: (derive_seed(seed, "shuffle", text), text)
    )
    if len(circle) < 2:
        raise RecordError(
            f"shuffled prompts: {len(prompts)} items have {len(circle)} different prompts; "
            "expected at least 2"
        )
    following = dict(zip(circle, [*circle[1:], circle[0]], strict=True))
    return {item_id: following[prompt] for item_id, prompt in prompts.items()}
