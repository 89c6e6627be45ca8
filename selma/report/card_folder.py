"""The folder of a model card: where it may be, so that it writes over nothing else."""

from pathlib import Path
from typing import Any

from selma.core.errors import ConfigError, SelmaError
from selma.runtime.yaml_files import parse_yaml

MARKS = ("dvc.yaml", "params.yaml", ".dvc")  # any of them makes a folder a project's
OF_PROJECTS = ("models", "data", "metrics", "plots", "report", "release")
README = "README.md"


def check_card_folder(folder: Path) -> None:
    """Refuse a project, a folder of a project's own files, and a README.md that is no card of ours.

    ConfigError says which; nothing is changed.
    """
    place = folder.resolve()
    if place.exists() and not place.is_dir():
        raise ConfigError(f"{folder}: expected the name of a folder to write")
    if found := [name for name in MARKS if (place / name).exists()]:
        raise ConfigError(
            f"{folder}: holds {found[0]}, so it is a project, whose README.md would be lost; name "
            "another folder to write, e.g. published"
        )
    for above in place.parents:
        own = place.relative_to(above).parts[0]
        if own in OF_PROJECTS and any((above / name).exists() for name in MARKS):
            raise ConfigError(
                f"{folder}: lies in the project's own {own}/; name another folder to write, e.g. "
                "published"
            )
    readme = place / README
    if (readme.exists() or readme.is_symlink()) and not _is_card(readme):
        raise ConfigError(
            f"{folder / README}: is there and is no model card of a LoRA; remove it, or name "
            "another folder to write"
        )


def _is_card(path: Path) -> bool:
    """Whether a Markdown file begins with front matter as `model_card` writes it."""
    try:
        text = path.read_text(encoding="utf-8")
        start, _, rest = text.partition("---\n")
        head: Any = None if start or not rest else parse_yaml(rest.partition("\n---")[0], str(path))
    except (OSError, ValueError, SelmaError):
        return False
    if not isinstance(head, dict):
        return False
    tags = head.get("tags")
    return head.get("library_name") == "diffusers" and isinstance(tags, list) and "lora" in tags
