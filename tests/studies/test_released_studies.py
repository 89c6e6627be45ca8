"""Released studies are whole, and the documents print what their score tables say."""

import re
import subprocess

import pytest
from toy import ROOT

from selma.report.study_text import as_markdown
from selma.studies.comparison import compare_study
from selma.studies.experiments import plan
from selma.studies.git import take_bundled
from selma.studies.results import read_scores
from selma.studies.study_file import read_study

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
RELEASED = sorted(path.stem for path in (ROOT / "studies").glob("*.bundle"))
PAGES = [ROOT / "docs/paper.md", *sorted((ROOT / "docs/studies").glob("*.md"))]
FEW = 100  # resamples, enough for what decides nothing


def git(folder, *arguments):
    command = ["git", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone of the repository, with a DVC cache of its own."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git repository: a bundle stands on the repository's commits")
    if git(ROOT, "rev-parse", "--is-shallow-repository").strip() == "true":
        pytest.skip("a shallow clone, without the commits on which the bundles stand")
    folder = tmp_path_factory.mktemp("released") / "clone"
    git(ROOT, "clone", "--quiet", str(ROOT), str(folder))
    return folder


def printed(text):
    """A text's lines without the claims' crossed bootstrap, which turns on the resamples."""
    lines, column = [], None
    for line in text.strip().splitlines():
        cells = line.split("|")
        found = [place for place, cell in enumerate(cells) if cell.strip() == "crossed bootstrap"]
        column = found[0] if found else column if line.startswith("|") else None
        lines.append("|".join(cells[:column] + cells[column + 1 :]) if column else line)
    return lines


@pytest.mark.parametrize("name", RELEASED)
def test_a_released_study_has_all_its_runs_and_a_document_prints_its_tables(clone, name):
    """Whatever the code is by now: a run's name without its fingerprint says what it is."""
    study = read_study(ROOT / f"studies/{name}.yaml").model_copy(update={"resamples": FEW})
    what = plan(study, clone)
    take_bundled(clone, ROOT / f"studies/{name}.bundle")
    listed = git(clone, "for-each-ref", "--format=%(refname:lstrip=-1) %(objectname)", "refs/exps")
    runs = dict(re.findall(rf"^({name}-.*-\d+)-\w+ (\w+)$", listed, re.MULTILINE))
    wanted = {one.name: f"{name}-{one.variant}-{one.seed}" for one in what.experiments}
    assert set(runs) == set(wanted.values())
    scores = read_scores(study, what, {one: runs[key] for one, key in wanted.items()}, clone)
    pages = [page.read_text(encoding="utf-8") for page in PAGES]
    (words,) = [page for page in pages if f"<!-- {name} -->\n" in page]
    shown = words.partition(f"<!-- {name} -->\n")[2].partition(f"<!-- /{name} -->")[0]
    assert printed(shown) == printed(as_markdown(compare_study(study, scores)))
