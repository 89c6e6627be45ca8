"""What is committed of released studies: their runs are whole, and documents print their scores."""

import re
from pathlib import Path

import pytest
from toy import ROOT

from selma.report.study_page import render_figure
from selma.report.study_text import as_markdown
from selma.studies.comparison import compare_study
from selma.studies.experiments import Plan, plan
from selma.studies.git import git, take_bundled
from selma.studies.results import read_scores
from selma.studies.study_file import read_study

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
PAGES = ("docs/paper.md", "docs/studies/*.md")
FEW = 100  # resamples, for the crossed bootstrap alone turns on them
EXPERIMENT = re.compile(r"^refs/exps/(\w\w)/(\w+)/(\S+) (\w+)$", re.MULTILINE)


def blocks(folder: Path) -> dict[str, str]:
    """What stands between the markers of each study in the documents."""
    pages = [page.read_text(encoding="utf-8") for glob in PAGES for page in folder.glob(glob)]
    marked = re.compile(r"<!-- (\w+) -->\n(.*?)<!-- /\1 -->", re.DOTALL)
    return {name: text for page in pages for name, text in marked.findall(page)}


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone of the repository, with a DVC cache of its own."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git repository: a bundle stands on the repository's commits")
    if git(ROOT, "rev-parse", "--is-shallow-repository").strip() == b"true":
        pytest.skip("a shallow clone, without the commits on which the bundles stand")
    folder = tmp_path_factory.mktemp("released") / "clone"
    git(ROOT, "clone", "--quiet", "--single-branch", str(ROOT), str(folder))
    return folder


def released(clone, study, bundle):
    """Plan a study on the commits on which a bundle's runs stand; the runs' commits by name."""
    take_bundled(clone, bundle)
    listed = git(clone, "for-each-ref", "--format=%(refname) %(objectname)", "refs/exps").decode()
    runs = {
        name: (first + rest, commit) for first, rest, name, commit in EXPERIMENT.findall(listed)
    }
    found = {}
    for base in sorted({base for base, _ in runs.values()}):
        git(clone, "update-ref", "--no-deref", "HEAD", base)
        for one in plan(study, clone).experiments:
            if runs.get(one.name, ("", ""))[0] == base:
                found[one.variant, one.seed] = one
    assert set(found) == set(study.runs()), "no such runs in the bundle, as the file has them"
    ordered = tuple(found[run] for run in study.runs())
    return Plan("", ordered, ()), {one.name: runs[one.name][1] for one in ordered}


def printed(text):
    """A text's lines without the claims' crossed bootstrap."""
    lines, column = [], None
    for line in text.strip().splitlines():
        cells = line.split("|")
        found = [place for place, cell in enumerate(cells) if cell.strip() == "crossed bootstrap"]
        column = found[0] if found else column if line.startswith("|") else None
        lines.append("|".join(cells[:column] + cells[column + 1 :]) if column else line)
    return lines


@pytest.mark.parametrize("name", sorted(blocks(ROOT)))
def test_a_documents_tables_and_figures_are_those_of_the_released_runs(clone, name):
    """The runs, their settings and all numbers; later commits of the code change none of them."""
    study = read_study(clone / f"studies/{name}.yaml").model_copy(update={"resamples": FEW})
    what, revisions = released(clone, study, clone / f"studies/{name}.bundle")
    found = compare_study(study, read_scores(study, what, revisions, clone))
    assert printed(blocks(clone)[name]) == printed(as_markdown(found))
    figures = [render_figure(found, table) for table in study.tables]
    for drawn in (clone / "docs/studies").glob(f"{name}*.svg"):
        assert drawn.read_text(encoding="utf-8") in figures, drawn.name
