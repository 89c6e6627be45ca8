"""Imports point one way, and dvc.yaml lists every module that decides a stage's bytes."""

import ast
from functools import cache
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from selma.checking.pipeline import body, paths_of, pipeline_problems

ROOT = Path(__file__).parent.parent
CORE = ("prompts", "images", "experts", "merging", "evaluation", "benchmarks", "questions")
LAYERS = {
    "errors": 0, "seeds": 0, "choices": 0,
    "params": 1, "runtime": 1, "tables": 1, "training": 1, "adapters": 1, "backbone": 1,
    "devices": 1,
    "llm": 2, "pocket": 2, **dict.fromkeys(CORE, 2),
    "report": 3, "tracking": 3, "pipeline": 3, "check": 3,
    "commands": 4, "cli": 5,
}  # fmt: skip
POCKET_USERS = (
    "llm",
    "evaluation",
    "commands",
)  # backends inside them, loaded when they are chosen
CANNOT_DECIDE_BYTES = {
    "selma/__init__.py": "the version",
    "selma/core/errors.py": "messages",
    "selma/core/choices.py": "looks a name up or fails",
    "selma/runtime.py": "logging, signals, locks, atomic writes",
    "selma/runtime/params.py": "checks values that stand under `params` in dvc.yaml",
    "selma/tracking": "reads what stages wrote, writes to MLflow only",
}
PIPELINES = [path for path in (ROOT / "dvc.yaml", ROOT / "foundation/dvc.yaml") if path.exists()]


def files(package):
    return sorted((ROOT / package).rglob("*.py"))


def name_of(path):
    return str(path.relative_to(ROOT))


@cache
def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(nodes):
    """Give the dotted names that import statements among nodes may load."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def file_of(dotted):
    """Find the file of our module that a dotted name is or lies in."""
    parts = dotted.split(".")
    if parts[0] not in ("selma", "stages"):
        return None
    for end in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:end])
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if candidate.is_file():
                return candidate
    raise AssertionError(f"no file for the import {dotted}")


def imports_of(path, *, lazy=True):
    """Give our files that a file imports; without `lazy` only those at its top."""
    nodes = ast.walk(tree(path)) if lazy else top_statements(tree(path).body)
    found = {file_of(dotted) for dotted in imported(nodes)}
    return sorted(file for file in found if file is not None)


def top_statements(statements):
    for statement in statements:
        if isinstance(statement, ast.If | ast.Try):
            yield from top_statements([*statement.body, *statement.orelse])
        else:
            yield statement


def unit_of(path):
    """Give a file's place in LAYERS: its package in selma, or its own name."""
    parts = path.relative_to(ROOT / "selma").parts
    return parts[0].removesuffix(".py")


def edges():
    return [
        (source, target, target in imports_of(source, lazy=False))
        for source in files("selma")
        for target in imports_of(source)
        if target.is_relative_to(ROOT / "selma") and target != ROOT / "selma/__init__.py"
    ]


def test_every_module_has_a_layer():
    units = {unit_of(path) for path in files("selma")} - {"__init__"}
    assert units - set(LAYERS) == set()


def test_imports_point_to_the_same_layer_or_below():
    wrong = [
        f"{name_of(source)} imports {name_of(target)}"
        for source, target, _ in edges()
        if LAYERS[unit_of(source)] < LAYERS[unit_of(target)]
    ]
    assert wrong == []


def test_core_packages_do_not_import_each_other():
    wrong = [
        f"{name_of(source)} imports {name_of(target)}"
        for source, target, _ in edges()
        if unit_of(source) in (*CORE, "llm")
        and unit_of(target) in CORE
        and unit_of(source) != unit_of(target)
    ]
    assert wrong == []


def test_only_what_asks_an_llm_imports_it():
    users = {unit_of(source) for source, target, _ in edges() if unit_of(target) == "llm"}
    assert users <= {"prompts", "questions", "commands", "llm"}


def test_the_pocket_world_is_a_backend_that_is_loaded_when_it_is_chosen():
    wrong = [
        f"{name_of(source)} imports {name_of(target)}"
        for source, target, at_top in edges()
        if unit_of(target) == "pocket"
        and unit_of(source) != "pocket"
        and (at_top or unit_of(source) not in POCKET_USERS)
    ]
    assert wrong == []


def test_stages_are_scripts_that_nothing_imports():
    stages = ROOT / "stages"
    wrong = [
        f"{name_of(source)} imports {name_of(target)}"
        for source in [*files("selma"), *files("stages")]
        for target in imports_of(source)
        if target.is_relative_to(stages) and target != stages / "__init__.py"
    ]
    assert wrong == []


def reached(script):
    """Give all our files that a stage's script may load, also lazily."""
    found, waiting = set(), [script]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += imports_of(path)
            waiting += [parent / "__init__.py" for parent in path.parents if parent != ROOT
                        and parent.is_relative_to(ROOT / "selma")]  # fmt: skip
    return found


def decides_bytes(path):
    """Tell whether a file can change what a stage writes; a docstring alone cannot."""
    exempt = any(covers(place, name_of(path)) for place in CANNOT_DECIDE_BYTES)
    return not exempt and any(not isinstance(node, ast.Expr) for node in tree(path).body)


def covers(place, name):
    return name == place or name.startswith(place + "/")


def stages_of(pipeline):
    described = YAML(typ="safe").load(pipeline.read_text(encoding="utf-8"))
    return [(name, body(entry), pipeline.parent) for name, entry in described["stages"].items()]


STAGES = [stage for pipeline in PIPELINES for stage in stages_of(pipeline)]


def script_of(stage):
    """Give the script of `python -m stages.NAME …`; foundation commands may change folder first."""
    words = stage["cmd"].split()
    module = next(word for word in words if word.startswith("stages."))
    return ROOT.joinpath(*module.split(".")).with_suffix(".py")


def deps_of(stage, folder):
    places = [(folder / stage.get("wdir", "") / path).resolve() for path in paths_of(stage["deps"])]
    return [name_of(place) for place in places if place.is_relative_to(ROOT)]


@pytest.mark.parametrize(
    ("stage", "folder"), [pytest.param(s, f, id=f"{f.name}-{n}") for n, s, f in STAGES]
)
def test_the_deps_of_a_stage_cover_every_module_that_its_script_reaches(stage, folder):
    deps = deps_of(stage, folder)
    needed = {name_of(path) for path in reached(script_of(stage)) if decides_bytes(path)}
    lacking = sorted(name for name in needed if not any(covers(d, name) for d in deps))
    assert not lacking, f"add to deps: {', '.join(lacking)}"


@pytest.mark.parametrize(
    ("stage", "folder"), [pytest.param(s, f, id=f"{f.name}-{n}") for n, s, f in STAGES]
)
def test_a_stage_lists_no_module_that_its_script_does_not_reach(stage, folder):
    names = {name_of(path) for path in reached(script_of(stage))}
    code = [d for d in deps_of(stage, folder) if d.startswith(("selma", "stages"))]
    idle = sorted(d for d in code if not any(covers(d, name) for name in names))
    assert not idle, f"take out of deps: {', '.join(idle)}"


def load(name):
    return YAML(typ="safe").load((ROOT / name).read_text(encoding="utf-8"))


def test_the_pipeline_and_the_params_name_the_same_skills_and_obey_the_rules_of_dvc():
    assert pipeline_problems(load("dvc.yaml"), load("params.yaml")) == []


def test_a_skill_that_merge_does_not_list_is_a_problem():
    params = load("params.yaml")
    params["skills"]["spatial"] = {}
    problems = " ".join(pipeline_problems(load("dvc.yaml"), params))
    assert "merge.deps lacks the skill spatial" in problems
    assert "merge.weights lacks the skill spatial" in problems


def test_a_script_run_by_path_and_an_uncached_out_are_problems():
    params = {"skills": {}, "merge": {"weights": {}}}
    stage = {"cmd": "python stages/a.py", "outs": [{"x.csv": {"cache": False}}], "params": ["b.c"]}
    problems = pipeline_problems({"stages": {"a": stage}}, params)
    assert [problem.split(" ")[1] for problem in problems] == ["a.cmd", "a.outs:", "a.params:"]
