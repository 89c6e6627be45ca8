"""Judges by name; each is loaded only when it is chosen."""

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from selma.core.choices import choose, choose_name
from selma.judges.protocol import Judge, JudgeSettings, Pictures, Questions
from selma.judges.templates import TEMPLATES

Loader = Callable[[JudgeSettings, Path | None], Judge]
WITHOUT_WEIGHTS = ("pocket", "endpoint")  # their path in params.yaml is the code that answers
# What a command line means where it is silent, and what some judges need instead.
DEFAULTS: Mapping[str, Any] = {
    "dtype": "float32",
    "template": "bare",
    "questions_per_batch": 16,
    "max_new_tokens": 30,
    "beams": 5,
}
OWN_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    # A server cannot be asked for a beam search, and a reply that it cuts off is an error.
    "endpoint": {"beams": 1, "max_new_tokens": 512}
}


class PocketJudge:
    """The pocket world's judge: looks at the pixels and knows no model."""

    @property
    def about(self) -> Mapping[str, Any]:
        libraries = {name: version(name) for name in ("numpy", "pillow", "scipy")}
        return {"class": "pocket", "libraries": libraries, "preprocessing": "none"}

    def __call__(self, pictures: Pictures, questions: Questions) -> list[list[str]]:
        from selma.pocket.judge import answer_questions

        return answer_questions(pictures, questions)


def _from(module: str, function: str) -> Loader:
    """Load a judge by a function of a module that is imported only then."""

    def load(settings: JudgeSettings, replies: Path | None) -> Judge:
        options = {"replies": replies} if module == "endpoint" else {}
        found = getattr(import_module(f"selma.judges.{module}"), function)
        judge: Judge = found(settings, **options)
        return judge

    return load


JUDGES: dict[str, Loader] = {
    "pocket": lambda settings, replies: PocketJudge(),
    "blip2": _from("blip2", "load_blip2"),
    "instructblip": _from("blip2", "load_instructblip"),
    "blip-vqa": _from("blip_vqa", "load_blip_vqa"),
    "vilt": _from("vilt", "load_vilt"),
    "chat": _from("chat.model", "load_chat"),
    "endpoint": _from("endpoint", "load_endpoint"),
    "mplug": _from("mplug.judge", "load_mplug"),
}


def load_judge(name: str, settings: JudgeSettings, replies: Path | None = None) -> Judge:
    """Load a judge of `JUDGES`.

    A judge that is paid for keeps each reply in `replies` as soon as it arrives. Raises ConfigError
    if there is no such judge or template, or the judge cannot work so; MissingDataError without its
    folder; MissingDependencyError if it needs a package that is not installed, or a Hub model
    cannot be had; RecordError if its files are damaged or do not fit each other.
    """
    loader = choose("judge", name, JUDGES)
    choose_name("judge template", settings.template, TEMPLATES)
    return loader(settings, replies)


def with_defaults(name: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in what is None among `given`, whose keys are those of `DEFAULTS`, for a judge."""
    defaults = {**DEFAULTS, **OWN_DEFAULTS.get(name or "", {})}
    return {key: defaults[key] if value is None else value for key, value in given.items()}


def judge_settings(kind: str, values: Mapping[str, Any], *, template: str) -> JudgeSettings:
    """Make the settings of a judge of `JUDGES` from params or a command line.

    The path is None for a judge without a model; the revision counts only without such a folder.
    A judge with weights works on the device of this process, see `prepare_device`.
    """
    from selma.core.devices import prepare_device

    path = values["path"]
    on_disk = path is None or Path(path).is_dir()
    same = DEFAULTS.keys() - {"template"}
    return JudgeSettings(
        path=path or "",
        revision=None if on_disk else values["revision"],
        device="cpu" if kind in WITHOUT_WEIGHTS else prepare_device(),
        template=template,
        **{name: values[name] for name in same},
    )


def row_settings(row: Mapping[str, Any], *, template: str) -> JudgeSettings:
    """Make the settings of a judge as a row of params says it: an endpoint's model, or its folder.

    The path of a row without weights is the code that answers, which is not loaded from there.
    """
    path = None if row["kind"] in WITHOUT_WEIGHTS else row["path"]
    return judge_settings(row["kind"], {**row, "path": row["model"] or path}, template=template)


def describe_judge(about: Mapping[str, Any], settings: JudgeSettings) -> dict[str, Any]:
    """Say what decides a model's answers, the same wherever its folder lies.

    A model on disk is named by its folder's name and by its weights' content.
    """
    from selma.core.fingerprints import weights_revision

    folder = Path(settings.path)
    if "path" not in about or not folder.is_dir():
        return dict(about)
    return {**about, "path": folder.resolve().name, "revision": weights_revision(folder)}


def judge_title(name: str, about: Mapping[str, Any]) -> str:
    """Name a judge of `JUDGES`, as `describe_judge` describes it, with its model."""
    return f"{name} {about.get('path') or ''}".rstrip()
