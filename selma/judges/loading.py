"""Judges by name; each is loaded only when it is chosen."""

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selma.core.choices import choose
from selma.judges.normalise import NORMALISERS
from selma.judges.protocol import Judge, JudgeSettings, Question
from selma.judges.templates import TEMPLATES


class PocketJudge:
    """The pocket world's judge: looks at the pixels and knows no model."""

    @property
    def about(self) -> Mapping[str, Any]:
        """Say that nothing but the code decides the answers."""
        libraries = {name: version(name) for name in ("numpy", "pillow", "scipy")}
        return {"class": "pocket", "libraries": libraries, "preprocessing": "none"}

    def __call__(
        self,
        pictures: Sequence[NDArray[np.uint8]],
        questions: Sequence[Sequence[Question]],
    ) -> list[list[str]]:
        """Answer each question about each picture."""
        from selma.pocket.judge import answer_questions

        return answer_questions(pictures, questions)


def _pocket(settings: JudgeSettings, replies: Path | None) -> Judge:
    return PocketJudge()


def _blip2(settings: JudgeSettings, replies: Path | None) -> Judge:
    from selma.judges.blip2 import load_blip2

    return load_blip2(settings)


def _instructblip(settings: JudgeSettings, replies: Path | None) -> Judge:
    from selma.judges.blip2 import load_instructblip

    return load_instructblip(settings)


def _blip_vqa(settings: JudgeSettings, replies: Path | None) -> Judge:
    from selma.judges.blip_vqa import load_blip_vqa

    return load_blip_vqa(settings)


def _vilt(settings: JudgeSettings, replies: Path | None) -> Judge:
    from selma.judges.vilt import load_vilt

    return load_vilt(settings)


def _chat(settings: JudgeSettings, replies: Path | None) -> Judge:
    from selma.judges.chat.judge import load_chat

    return load_chat(settings)


def _endpoint(settings: JudgeSettings, replies: Path | None) -> Judge:
    from selma.judges.endpoint import load_endpoint

    return load_endpoint(settings, replies=replies)


def _mplug(settings: JudgeSettings, replies: Path | None) -> Judge:
    from selma.judges.mplug.judge import load_mplug

    return load_mplug(settings)


JUDGES: dict[str, Callable[[JudgeSettings, Path | None], Judge]] = {
    "pocket": _pocket,
    "blip2": _blip2,
    "instructblip": _instructblip,
    "blip-vqa": _blip_vqa,
    "vilt": _vilt,
    "chat": _chat,
    "endpoint": _endpoint,
    "mplug": _mplug,
}


WITHOUT_WEIGHTS = ("pocket", "endpoint")  # their path in params.yaml is the code that answers


def load_judge(name: str, settings: JudgeSettings, replies: Path | None = None) -> Judge:
    """Load a judge.

    Args:
        name: a key of `JUDGES`.
        settings: of the model, and how it is asked.
        replies: where a judge that is paid for keeps each reply as soon as it arrives.

    Raises:
        ConfigError: there is no such judge or template, or the judge cannot work so.
        MissingDataError: its folder is not there.
        MissingDependencyError: it needs a package that is not installed.
        RecordError: its files are damaged or do not fit each other.
    """
    loader = choose("judge", name, JUDGES)
    choose("judge template", settings.template, TEMPLATES)
    return loader(settings, replies)


def judge_settings(values: Mapping[str, Any], *, template: str) -> JudgeSettings:
    """Make a judge's settings from params or a command line.

    Args:
        values: path (None for a judge without a model), revision, dtype, questions_per_batch,
            max_new_tokens and beams. The revision is a commit only if there is no such folder.
        template: how questions are put.
    """
    from selma.core.devices import prepare_device

    path = values["path"]
    on_disk = path is None or Path(path).is_dir()
    return JudgeSettings(
        path=path or "",
        revision=None if on_disk else values["revision"],
        dtype=values["dtype"],
        device="cpu" if path is None else prepare_device(),
        template=template,
        questions_per_batch=values["questions_per_batch"],
        max_new_tokens=values["max_new_tokens"],
        beams=values["beams"],
    )


def describe_judge(about: Mapping[str, Any], settings: JudgeSettings) -> dict[str, Any]:
    """Say what decides a model's answers, the same wherever its folder lies.

    A model on disk is named by its folder's name and by its weights' content.

    Args:
        about: what the judge says of itself.
        settings: it was loaded with.
    """
    from selma.core.fingerprints import weights_revision

    about = dict(about)
    folder = Path(settings.path)
    if settings.path and folder.is_dir():
        about |= {"path": folder.resolve().name, "revision": weights_revision(folder)}
    return about


def normaliser(name: str) -> Callable[[str], str]:
    """Give what turns a raw answer into the one that counts.

    Raises:
        ConfigError: there is no such normaliser.
    """
    return choose("answer normaliser", name, NORMALISERS)
