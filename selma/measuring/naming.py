"""What every scores table says of itself: its measure, its title and its benchmark."""

from collections.abc import Mapping, Sequence
from typing import Any

from selma.core.tables import content_hash

Row = Mapping[str, Any]
Scores = tuple[list[dict[str, Any]], dict[str, Any]]  # rows of a scores table, what it is about
TITLES = {"dsg": "DSG", "tifa": "TIFA", "pickscore": "PickScore", "hps": "HPS"} | {
    "imagereward": "ImageReward",
    "clipscore": "CLIPScore",
    "vqascore": "VQAScore",
}


def describe_measure(
    measure: str, title: str, benchmark_name: str, benchmark: Sequence[Row]
) -> dict[str, Any]:
    sha256 = content_hash(benchmark, "benchmark")
    named = {"measure": measure, "title": title}
    return {**named, "benchmark": benchmark_name, "benchmark_sha256": sha256}
