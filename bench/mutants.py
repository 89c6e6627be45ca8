"""Puts one small bug at a time into the code and counts how many the tests notice.

python bench/mutants.py [--number 320] [--seed 0] [--packages stages core …] [--jobs 2] [--list]

The bugs are put into a copy of the repository. For each, the tests that belong to its package run
until the first failure, in a process forked from one that has torch loaded. Bugs are drawn by
seed, evenly over the packages' lines; words (docstrings, messages, log lines, annotations) are
left alone. A bug that no test notices is printed, with its line before and after.
"""

import argparse
import ast
import copy
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = {
    "stages": ["tests/stages"],
    "selma/core": ["tests/core", "tests/stages"],
    "selma/training": ["tests/training", "tests/stages"],
    "selma/adapters": ["tests/adapters", "tests/merging"],
    "selma/merging": ["tests/merging", "tests/stages"],
    "selma/diffusion": ["tests/diffusion", "tests/training", "tests/checking", "tests/stages"],
    "selma/measuring": [
        "tests/measuring", "tests/scorers/test_preference.py", "tests/stages", "tests/commands",
        "tests/judges/test_score_with_models.py",
    ],
    "selma/comparing": ["tests/comparing", "tests/commands"],
    "selma/report": ["tests/report", "tests/stages"],
}
FACTORY = ["tests/foundation"]  # of the stages that make the pocket world's models
SLOW = {  # a minute and more: run for the bugs of the files that they are about
    "tests/core/test_processor.py": ["selma/core/processor.py"],
    "tests/test_team.py": ["selma/core/team.py", "selma/core/shards.py", "selma/training/loop.py"],
}
MADE_FOR_TRIALS = "tiny.py"  # random models: any would do
WORDS = ("logger", "warnings", "print")
SWAPS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
DROPPED = ("sorted", "abs", "set")


def sites(tree):
    """Yield (node, kind) of every place that can be made wrong; the walk's order is fixed."""
    waiting = [tree]
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom):
            continue
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[0] in WORDS:
            continue
        if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield from ((node, kind) for kind in kinds(node))
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_params"):
                continue
            children = value if isinstance(value, list) else [value]
            waiting += [child for child in children if isinstance(child, ast.AST)]


def kinds(node):
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        yield "compare"
    elif isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in SWAPS:
        text = any(isinstance(n, ast.JoinedStr) or isinstance(getattr(n, "value", 0), str)
                   for n in ast.walk(node))  # fmt: skip
        if not text:
            yield "operator"
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float, bool):
        yield "constant"
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        yield "condition"
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id in NAMES:
            yield "function"
        elif node.func.id in DROPPED and len(node.args) == 1:
            yield "dropped"
    if isinstance(node, ast.Call):
        if len(named_values(node)) > 1:
            yield "keywords"
        plain = [a for a in node.args if isinstance(a, ast.Name)]
        if len(plain) > 1:
            yield "arguments"
    called = ast.unparse(node.value.func) if isinstance(node, ast.Expr) and isinstance(
        node.value, ast.Call) else ""  # fmt: skip
    if called and called.split(".")[0] not in WORDS:
        yield "statement"
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield "unary"


def named_values(call):
    """Keyword arguments that are plain names, and so could be mixed up."""
    return [k for k in call.keywords if k.arg and isinstance(k.value, ast.Name | ast.Attribute)]


def spoil(node, kind):
    """Make a node wrong, in place."""
    if kind == "compare":
        node.ops[0] = SWAPS[type(node.ops[0])]()
    elif kind == "operator":
        node.op = SWAPS[type(node.op)]()
    elif kind == "constant":
        node.value = (not node.value) if isinstance(node.value, bool) else node.value + 1
    elif kind == "condition":
        node.test = ast.UnaryOp(ast.Not(), node.test)
    elif kind == "function":
        node.func.id = NAMES[node.func.id]
    elif kind == "dropped":
        node.func = ast.Name("list", ast.Load()) if node.func.id != "abs" else ast.parse(
            "(lambda value: value)", mode="eval").body  # fmt: skip
    elif kind == "keywords":
        named = named_values(node)
        named[0].value, named[1].value = named[1].value, named[0].value
    elif kind == "arguments":
        places = [i for i, a in enumerate(node.args) if isinstance(a, ast.Name)][:2]
        one, other = places
        node.args[one], node.args[other] = node.args[other], node.args[one]
    elif kind == "statement":
        node.value = ast.Constant(None)
    elif kind == "unary":
        node.op = ast.UAdd() if isinstance(node.op, ast.USub) else node.op
        if isinstance(node.op, ast.Not):
            node.operand = ast.UnaryOp(ast.Not(), node.operand)


def all_mutants(package):
    """List (file, number of the site, kind, line) of a package."""
    found = []
    for path in sorted((ROOT / package).rglob("*.py")):
        if path.name in ("__init__.py", MADE_FOR_TRIALS):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for number, (node, kind) in enumerate(sites(tree)):
            wrong = copy.deepcopy(node)
            spoil(wrong, kind)
            if ast.dump(wrong) != ast.dump(node):  # swapped arguments may be alike
                found.append((path.relative_to(ROOT), number, kind, getattr(node, "lineno", 0)))
    return found


def chosen(packages, number, seed):
    """Draw mutants evenly over the packages' places."""
    pools = {package: all_mutants(package) for package in packages}
    total = sum(map(len, pools.values()))
    picked = []
    for package, pool in pools.items():
        share = max(1, round(number * len(pool) / total))
        rng = random.Random(f"{seed} {package}")
        picked += [(package, *one) for one in sorted(rng.sample(pool, min(share, len(pool))))]
    return picked


def mutated(path, number, kind):
    """The wrong source of a file, with the line before and after."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    node, found = list(sites(tree))[number]
    assert found == kind
    before = ast.unparse(node) if not hasattr(node, "test") else ast.unparse(node.test)
    spoil(node, kind)
    after = ast.unparse(node) if not hasattr(node, "test") else ast.unparse(node.test)
    return ast.unparse(ast.fix_missing_locations(tree)), before[:90], after[:90]


def near(tests, path):
    """The tests of a package for a bug in one of its files."""
    own = [test for test, files in SLOW.items() if str(path) in files]
    return [*tests, *own, *(f"--ignore={test}" for test in SLOW if test not in own)]


RUNNER = """
import os, sys
sys.path[:0] = [os.getcwd(), os.path.join(os.getcwd(), "tests")]
from selma.core.processor import pin_processor
pin_processor()  # before torch
import diffusers, numpy, pandas, peft, pyarrow.parquet, pytest, torch, transformers
for name in [name for name in sys.modules if name.split(".")[0] in ("selma", "stages")]:
    del sys.modules[name]
torch.set_num_threads(1)
for line in sys.stdin:
    limit, *tests = line.split()
    pid = os.fork()
    if not pid:
        os.setsid()
        sys.stdout = sys.stderr = open(os.devnull, "w")
        os.dup2(sys.stdout.fileno(), 1); os.dup2(sys.stdout.fileno(), 2)
        os._exit(int(pytest.main(["-x", "-q", "--no-header", "-p", "no:cacheprovider", *tests])))
    import signal, time
    end, status = time.time() + float(limit), None
    while status is None and time.time() < end:
        done, code = os.waitpid(pid, os.WNOHANG)
        status = os.waitstatus_to_exitcode(code) if done else None
        time.sleep(0.02)
    if status is None:
        os.killpg(pid, signal.SIGKILL); os.waitpid(pid, 0); status = "timeout"
    print("STATUS", status, flush=True)
"""


class Runner:
    """A copy of the repository and a process with torch loaded that forks for each test run."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="mutants-"))
        names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
        for name in filter(None, names.stdout.decode().split("\0")):
            if (ROOT / name).is_file() and not name.startswith("release/"):
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.folder / name)
        for folder in ("models/pocket", "data/benchmarks"):
            if (ROOT / folder).is_dir():
                shutil.copytree(ROOT / folder, self.folder / folder, dirs_exist_ok=True)
        name = ["-c", "user.name=mutants", "-c", "user.email=mutants@localhost"]
        for command in (["init", "-q"], ["add", "-A"], [*name, "commit", "-qm", "copy"]):
            subprocess.run(["git", *command], cwd=self.folder, check=True, capture_output=True)
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1",
                       "PYTHONDONTWRITEBYTECODE": "1",
                       "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUNNER], cwd=self.folder,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def run(self, tests, limit):
        """"0" if all tests pass, "1" if one fails, "timeout"."""
        self.process.stdin.write(f"{limit} {' '.join(tests)}\n")
        self.process.stdin.flush()
        while True:
            line = self.process.stdout.readline()
            if not line:
                raise SystemExit("mutants: the test runner ended; run it by hand to see why")
            if line.startswith("STATUS"):
                return line.split()[1]

    def close(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=320)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--packages", nargs="+", default=list(TESTS), choices=list(TESTS))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--list", action="store_true", help="only say which bugs there would be")
    parser.add_argument("--trust", action="store_true", help="do not run the right code first")
    args = parser.parse_args()
    picked = chosen(args.packages, args.number, args.seed)
    if args.list:
        for _, path, number, kind, line in picked:
            _, before, after = mutated(path, number, kind)
            print(f"{path}:{line} {kind}: {before}  →  {after}")
        return
    started = time.time()
    runners = [Runner() for _ in range(args.jobs)]
    limits = {}
    for package in args.packages:
        begun = time.time()
        tests = [name for name in TESTS[package] if (ROOT / name).exists()]
        if not args.trust and runners[0].run(tests, 900) != "0":
            sys.exit(f"mutants: the tests of {package} fail as they are: {' '.join(tests)}")
        limits[package] = (tests, 300 if args.trust else 3 * (time.time() - begun) + 20)
    random.Random(args.seed).shuffle(picked)  # so that a run that is cut short is a fair sample
    free = list(runners)
    results = []

    def trial(mutant):
        package, path, number, kind, line = mutant
        source, before, after = mutated(path, number, kind)
        runner = free.pop()
        target = runner.folder / path
        kept = target.read_text(encoding="utf-8")
        try:
            target.write_text(source, encoding="utf-8")
            factory = path.name.startswith("train_") or path.name == "benchmarks.py"
            tests, limit = limits[package]
            status = runner.run(FACTORY if factory else near(tests, path), limit)
        finally:
            target.write_text(kept, encoding="utf-8")
            free.append(runner)
        if status == "0":
            print(f"SURVIVED {path}:{line} {kind}: {before}  →  {after}", flush=True)
        results.append((package, status != "0"))
        if len(results) % 20 == 0:
            print(f"{sum(found for _, found in results)} of {len(results)} noticed", flush=True)

    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(trial, picked))
    for runner in runners:
        runner.close()
    for package in args.packages:
        own = [noticed for name, noticed in results if name == package]
        print(f"{package}: {sum(own)} of {len(own)} noticed")
    noticed = sum(found for _, found in results)
    print(f"{noticed} of {len(results)} noticed, {100 * noticed / len(results):.1f} %, "
          f"in {(time.time() - started) / 60:.0f} minutes")  # fmt: skip


if __name__ == "__main__":
    main()
