"""What the act of correcting takes, made from plain values named as in params.yaml's `correct`."""

from collections.abc import Mapping
from typing import Any

from selma.correction.correcting import Way
from selma.correction.detections import Thresholds
from selma.correction.lmd import LMD, Vocabulary
from selma.correction.loop import Options
from selma.correction.replies import ReplyLimits

Values = Mapping[str, Any]


def way_of(values: Values, mode: str, concurrency: int) -> Way:
    """Make the way that each picture goes; `mode` is of `requests.MODES`."""
    names = ("rounds", "stop_on_pass", "duplicate_iou", "edit_iou")
    return Way(
        mode,
        Options(**{name: values[name] for name in names}),
        ReplyLimits(values["objects_max"], values["reply_bytes_max"]),
        values["retries"],
        concurrency,
    )


def thresholds_of(detector: Values) -> Thresholds:
    """Take a detector's thresholds."""
    return Thresholds(detector["attribute"], detector["primitive"], detector["nms_iou"])


def words_of(values: Values) -> Vocabulary:
    """Take the words of prompts with a pass rule; None: the LMD benchmark's own."""
    own = values["vocabulary"]
    if own is None:
        return LMD
    lists = {name: tuple(own[name]) for name in ("nouns", "colors", "counts")}
    return Vocabulary(own["prefix"], **lists)
