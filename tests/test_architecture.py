"""Imports point down, params stay at the door, dvc.yaml lists all that decides bytes."""

import ast
import re
from functools import cache

import pytest
from tiny_world import ROOT, read_yaml, shipped_params

LAYERS = (
    {"core"},
    {"runtime", "llm", "pictures", "metrics", "pocket", "hub", "adapters"},
    {"diffusion", "training", "merging", "prompts", "questions", "benchmarks", "judges", "scorers"}
    | {"comparing", "correction", "sources"},
    {"measuring"},
    {"report", "tracking", "checking", "foundation", "studies", "tiny"},
    {"commands"},
    {"stages"},
)
BESIDE = {
    ("llm", "pocket"): "a text generator, loaded when it is chosen",
    ("training", "diffusion"): "the backbone that is taught",
    ("correction", "diffusion"): "the models that edit",
}
# Packages that load it when it is chosen.
POCKET_USERS = {"llm", "judges", "correction", "diffusion", "sources", "commands", "foundation"}
NO_DEPS = {
    "runtime": "checks values that stand under `params`, journals, locks; the bytes are not its",
    "commands": "words for people",
    "checking": "looks before a run",
    "hub": "a pinned revision's hashes decide the bytes, and a change of words must fetch nothing",
    "tracking": "reads what stages wrote, writes to MLflow only",
}
NO_BYTES = {  # where a stage lists files instead of packages
    "selma/core/errors.py": "messages",
    "selma/core/choices.py": "looks a name up or fails",
}
PARAMS_READERS = {"runtime", "checking", "foundation", "commands", "studies"}
PARAMS_EXCEPTIONS = {
    "selma/correction/lmd.py": "a vocabulary's file is checked like a section",
    "selma/prompts/skills.py": "a skill's file is checked like a section",
}
PIPELINES = [ROOT / "dvc.yaml", ROOT / "foundation/dvc.yaml"]
LINES_OF_A_FILE, LINES_OF_A_FUNCTION = 350, 40


def files(folder):
    return sorted((ROOT / folder).rglob("*.py"))


SOURCES = [*files("selma"), *files("stages")]


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def package_of(path):
    parts = path.relative_to(ROOT).parts
    return parts[1] if parts[0] == "selma" and len(parts) > 2 else parts[0]


@cache
def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def loaded(node):
    """All nodes below, without what is imported for type checkers alone."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from loaded(child)


def file_of(dotted):
    """The file of ours that a dotted name is or lies in; None if it is not ours."""
    parts = dotted.split(".")
    if parts[0] not in ("selma", "stages"):
        return None
    for end in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:end])
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if candidate.is_file():
                return candidate
    raise AssertionError(f"no file for the import {dotted}")


def imported(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are written in full"
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


@cache
def imports_of(path, lazy=True):
    """Files of ours that a file may load; without `lazy` only those at its top."""
    nodes = loaded(tree(path)) if lazy else tree(path).body
    found = {file_of(dotted) for node in nodes for dotted in imported(node)}
    return sorted(found - {None, path})


EDGES = [
    (source, target, target in imports_of(source, lazy=False))
    for source in SOURCES
    for target in imports_of(source)
    if target != ROOT / "selma/__init__.py" and package_of(source) != package_of(target)
]


def layer_of(package):
    return next(n for n, layer in enumerate(LAYERS) if package in layer)


def told(edges):
    return [f"{name_of(source)} imports {name_of(target)}" for source, target, _ in edges]


def test_every_package_has_a_layer():
    packages = {path.name for path in (ROOT / "selma").iterdir() if list(path.rglob("*.py"))}
    assert packages - set.union(*LAYERS) == {"__init__.py"} & packages


def test_no_import_points_up_and_packages_side_by_side_do_not_know_each_other():
    wrong = [
        edge
        for edge in EDGES
        if layer_of(package_of(edge[0])) <= layer_of(package_of(edge[1]))
        and (package_of(edge[0]), package_of(edge[1])) not in BESIDE
    ]
    assert told(wrong) == []


def test_the_exceptions_are_needed():
    pairs = {(package_of(source), package_of(target)) for source, target, _ in EDGES}
    assert set(BESIDE) <= pairs


def test_the_pocket_world_is_loaded_only_when_it_is_chosen():
    wrong = [
        edge
        for edge in EDGES
        if package_of(edge[1]) == "pocket"
        and package_of(edge[0]) != "foundation"
        and (edge[2] or package_of(edge[0]) not in POCKET_USERS)
    ]
    assert told(wrong) == []


def test_nothing_imports_a_stage():
    assert told([e for e in EDGES if package_of(e[1]) == "stages"]) == []
    beside = [
        name_of(target)
        for source in files("stages")
        for target in imports_of(source)
        if package_of(target) == "stages" and target.name != "__init__.py"
    ]
    assert beside == []


def test_params_objects_stay_at_the_door():
    """Only stages and what checks params know its sections; the library gets values."""
    wrong = [
        edge
        for edge in EDGES
        if edge[1] in (ROOT / "selma/runtime/params.py", ROOT / "selma/runtime/sections.py")
        and package_of(edge[0]) not in {*PARAMS_READERS, "stages"}
        and name_of(edge[0]) not in PARAMS_EXCEPTIONS
    ]
    assert told(wrong) == []


def functions(path):
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return [node for node in ast.walk(tree(path)) if isinstance(node, kinds)]


def parameters(function):
    given = function.args
    return [*given.posonlyargs, *given.args, *given.kwonlyargs]


def test_no_namespace_is_a_parameter_outside_the_commands():
    wrong = [
        f"{name_of(path)}:{function.lineno} {function.name}({parameter.arg})"
        for path in SOURCES
        if package_of(path) != "commands"
        for function in functions(path)
        for parameter in parameters(function)
        if parameter.arg == "args"
        or (parameter.annotation and "Namespace" in ast.unparse(parameter.annotation))
    ]
    assert wrong == []


def given_away(module):
    """Calls that hand `args` itself to another module; `args.run(args)` is a command of its own."""
    here = {node.name for node in ast.walk(module) if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(module):
        if not isinstance(node, ast.Call):
            continue
        values = [*node.args, *(keyword.value for keyword in node.keywords)]
        handed = any(isinstance(value, ast.Name) and value.id == "args" for value in values)
        called = ast.unparse(node.func)
        if handed and called not in {*here, "args.run", "getattr"}:
            yield f"{node.lineno}: {called}"


def test_no_namespace_leaves_the_file_that_parsed_it():
    calls = [f"{name_of(path)}:{call}" for path in SOURCES for call in given_away(tree(path))]
    assert calls == []


def test_a_namespace_that_is_given_away_is_seen():
    source = "def own(args): ...\ndef run(args):\n    own(args)\n    other(x=args)\n    o.p(args)"
    assert list(given_away(ast.parse(source))) == ["4: other", "5: o.p"]


def body(stage):
    return stage.get("do", stage)


def paths_of(entries):
    return [next(iter(e)) if isinstance(e, dict) else str(e) for e in entries or []]


STAGES = [
    pytest.param(body(stage), pipeline.parent, id=f"{pipeline.parent.name}-{name}")
    for pipeline in PIPELINES
    for name, stage in read_yaml(pipeline)["stages"].items()
]
# Hours, or gigabytes: no edit may start them.
LONG = (
    "train_autoencoder",
    "train_base",
    "train_detector",
    "train_grounding",
    "train_scorer",
    "-hub",
)
# Their code that rates is a dep of the stage that writes down who rates, if anybody does.
BY_ROW = {"lora": "objective_row", "mixture": "objective_row"}
WITH_CODE = [stage for stage in STAGES if not stage.id.endswith(LONG)]


def script_of(stage):
    module = next(word for word in stage["cmd"].split() if word.startswith("stages."))
    return ROOT.joinpath(*module.split(".")).with_suffix(".py")


def code_deps(stage, folder):
    listed = paths_of(stage.get("deps"))
    places = [(folder / stage.get("wdir", "") / path).resolve() for path in listed]
    names = [name_of(place) for place in places if place.is_relative_to(ROOT)]
    return [name for name in names if name.startswith(("selma", "stages"))]


def reached(script):
    """All files of ours that a script may load, but those that are no deps."""
    found, waiting = set(), [script]
    while waiting:
        path = waiting.pop()
        if path not in found and package_of(path) not in NO_DEPS:
            found.add(path)
            waiting += imports_of(path)
    return {path for path in found if any(not isinstance(n, ast.Expr) for n in tree(path).body)}


def named(folder, *names):
    return [s.values[0] for s in STAGES for name in names if s.id == f"{folder.name}-{name}"]


def held_by_row(stage, folder):
    """The stage whose code deps count for this one, for what it writes is a dep of this one."""
    rows = [row for user, row in BY_ROW.items() if stage in named(folder, user)]
    (row,) = named(folder, *rows) or [{}]
    assert set(paths_of(row.get("outs"))) <= set(paths_of(stage["deps"]))
    return row


def users_of_row(stage, folder):
    users = [user for user, row in BY_ROW.items() if stage in named(folder, row)]
    return named(folder, *users)


def covers(dep, name):
    return name == dep or name.startswith(dep + "/")


def test_the_longest_stages_depend_on_no_code():
    long = [stage.values for stage in STAGES if stage not in WITH_CODE]
    assert [code_deps(*values) for values in long] == [[]] * len(LONG)


@pytest.mark.parametrize(("stage", "folder"), WITH_CODE)
def test_the_deps_of_a_stage_cover_all_that_its_script_reaches(stage, folder):
    deps = code_deps(stage, folder) + code_deps(held_by_row(stage, folder), folder)
    needed = {name_of(path) for path in reached(script_of(stage))} - set(NO_BYTES)
    lacking = sorted(name for name in needed if not any(covers(dep, name) for dep in deps))
    assert not lacking, f"add to deps what holds: {', '.join(lacking)}"


@pytest.mark.parametrize(("stage", "folder"), WITH_CODE)
def test_a_stage_lists_no_code_that_its_script_does_not_reach(stage, folder):
    scripts = [script_of(stage), *(script_of(user) for user in users_of_row(stage, folder))]
    names = {name_of(path) for script in scripts for path in reached(script)}
    deps = code_deps(stage, folder)
    idle = sorted(dep for dep in deps if not any(covers(dep, name) for name in names))
    assert not idle, f"take out of deps: {', '.join(idle)}"


@pytest.mark.parametrize(("stage", "folder"), STAGES)
def test_a_stage_obeys_the_rules_of_the_graph(stage, folder):
    """A script run by path imports the wrong code in a queued experiment; no out is uncached."""
    assert stage["cmd"].startswith("python -m stages.")
    uncached = [
        out for out in stage.get("outs", []) if isinstance(out, dict) and "cache" in str(out)
    ]
    assert uncached == []
    if folder == ROOT and code_deps(stage, folder):
        script, *packages = code_deps(stage, folder)
        assert script == name_of(script_of(stage))
        assert [dep for dep in packages if not re.fullmatch(r"selma/\w+", dep)] == []


def params_keys(stage):
    for entry in stage.get("params", []):
        if isinstance(entry, str):
            yield "params.yaml", entry
        else:
            yield from ((file, key) for file, keys in entry.items() for key in keys or [])


def lookup(value, key):
    """The value at a dotted key; a template stands for any row that is there."""
    for part in re.sub(r"\$\{[^}]*\}", "ANY", key).split("."):
        if part == "ANY" and not value:  # a section that may be empty
            return None
        value = next(iter(value.values())) if part == "ANY" else value[part]
    return value


@pytest.mark.parametrize(("stage", "folder"), STAGES)
def test_every_params_key_of_a_stage_exists(stage, folder):
    for file, key in params_keys(stage):
        whole = shipped_params() if file == "params.yaml" else read_yaml(ROOT / file)
        lookup(whole, key)  # a KeyError names what is not there


def without_own_words(line):
    """A line of dvc.yaml without comment, code deps and the graph's own words."""
    own = r"#.*|selma/\w+|^  mixture:|models/merged/"  # one stage and one folder
    return re.sub(own, "", line)


def test_the_graph_names_no_row():
    """Comments and code deps aside; a row's name in a path would tie the graph to one world."""
    params = shipped_params()
    sections = ("skills", "merges", "mixtures", "models", "benchmarks", "judges", "answers")
    rows = {row for s in (*sections, "measures", "preferences") for row in params[s]}
    lines = (ROOT / "dvc.yaml").read_text(encoding="utf-8").splitlines()
    found = [
        f"dvc.yaml:{number} {row}"
        for number, line in enumerate(lines, start=1)
        for row in sorted(rows)
        if re.search(rf"(?<![\w-]){re.escape(row)}(?![\w-])", without_own_words(line))
    ]
    assert found == []


POCKET = {
    "dvc.yaml": "the package as a dep of the stages that may load it",
    "selma/checking/problems.py": "kinds of sources whose path is code",
    "selma/commands/questions.py": "table of choices: who writes questions",
    "selma/commands/score_options.py": "table of choices in words: judges",
    "selma/correction/detectors/loading.py": "table of choices: detectors",
    "selma/correction/detectors/pocket.py": "what the table loads",
    "selma/diffusion/samplers/phrases.py": "table of choices: grammars of phrases",
    "selma/judges/loading.py": "table of choices: judges",
    "selma/llm/generators.py": "table of choices: text generators",
    "selma/runtime/model_params.py": "table of choices: grammars of phrases",
    "selma/runtime/sections.py": "table of choices: prompts.backend",
    "selma/runtime/source_params.py": "table of choices: sources",
    "selma/runtime/yaml_files.py": "names of kinds in a table",
    "selma/scorers/hps.py": "table of choices: versions of HPS",
    "selma/sources/truth.py": "table of choices: ground truth",
    "selma/tiny/presets.py": "its grammar, in place of a hosted LLM",
}
POCKET_STAGES = {"benchmarks", "train_autoencoder", "train_base", "train_detector"}
POCKET_STAGES |= {"train_grounding", "train_scorer", "train_tokenizer"}


def test_only_the_pocket_world_its_factory_and_the_tables_of_choices_speak_of_it():
    wrong = [
        f"{name_of(path)}:{number} {line.strip()}"
        for path in [*SOURCES, ROOT / "dvc.yaml"]
        if package_of(path) not in ("pocket", "foundation")
        and not (path.parent.name == "stages" and path.stem in POCKET_STAGES)
        and name_of(path) not in POCKET
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if "pocket" in line
    ]
    assert wrong == []


def test_the_places_that_may_speak_of_the_pocket_world_do():
    idle = [name for name in POCKET if "pocket" not in (ROOT / name).read_text(encoding="utf-8")]
    assert idle == []


def lines_of(path):
    return len(path.read_text(encoding="utf-8").splitlines())


def test_no_file_is_longer_than_350_lines():
    long = {name_of(path): lines_of(path) for path in SOURCES if lines_of(path) > LINES_OF_A_FILE}
    assert long == {}


def test_nine_functions_in_ten_are_under_40_lines():
    sizes = [f.end_lineno - f.lineno + 1 for path in SOURCES for f in functions(path)]
    short = sum(size < LINES_OF_A_FUNCTION for size in sizes)
    assert short >= 0.9 * len(sizes)
