"""A study over a small graph: what runs, what a kill loses, what the tables then say.

Merged is better than base by 10 points per rank and 1 per seed, on every prompt.
"""

import csv
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest
from toy import STUDY, Toy, environment

from selma.core.errors import ConfigError, MissingDataError
from selma.report.study_text import as_csv, as_markdown
from selma.studies import running
from selma.studies.comparison import compare_study
from selma.studies.experiments import Plan, plan
from selma.studies.results import read_scores
from selma.studies.running import START, check_committed, ensure_done, read_log, states
from selma.studies.sharing import take_released
from selma.studies.study_file import read_study

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
ALL = [f"{stage} seed {seed} rank {rank}" for rank in (1, 2) for seed in (1, 2, 3)
       for stage in ("train", "scores")]  # fmt: skip


def wait_for(condition):
    for _ in range(30_000):  # five minutes, on a busy machine
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def planned(toy):
    study = read_study(toy.folder / "studies/toy.yaml")
    return study, plan(study, toy.folder)


def kill_all(process):
    """Kill a process and all below it at once, as a machine does that loses its power."""
    below = psutil.Process(process.pid).children(recursive=True)
    for one in [process, *below]:
        one.send_signal(signal.SIGKILL)
    process.wait()
    psutil.wait_procs(below)
    process.stdout.close()


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A repository whose study was killed twice and then ran to its end."""
    toy = Toy(tmp_path_factory.mktemp("toy"))
    toy.write("README.md", "of mine, not committed")
    toy.killed = []
    (toy.home / "hold-2").touch()
    process = toy.start()
    wait_for((toy.home / "begun-2").exists)
    toy.running = [one.state for one in states(toy.folder, "toy", planned(toy)[1])]
    kill_all(process)
    toy.killed.append(toy.ran())
    (toy.home / "begun-2").unlink()
    process = toy.start()
    wait_for((toy.home / "begun-2").exists)
    process.kill()  # DVC goes on
    process.wait()
    process.stdout.close()
    toy.killed.append(toy.ran())
    process = toy.start()
    wait_for(lambda: "waiting" in process.stdout.readline())
    (toy.home / "hold-2").unlink()
    toy.said = process.communicate()[0]
    toy.killed.append(toy.ran())
    return toy


def test_a_kill_loses_the_running_stage_and_nothing_else(toy):
    """The first start comes to the first run of rank 2, in whose last stage it is killed."""
    assert toy.running == ["done"] * 3 + ["running"] + ["missing"] * 2
    first, second, third = toy.killed
    assert first == ALL[:8]
    assert second == [ALL[7]]
    assert third == ALL[8:]


def test_a_run_that_outlived_its_study_is_awaited_and_not_run_again(toy):
    assert "high, seed 1 done" in toy.said and "started" not in toy.said.split("high, seed 2")[0]


def test_the_working_tree_is_not_touched(toy):
    assert toy.git("status", "--porcelain") == "?? README.md\n"
    assert toy.git("stash", "list") == ""
    assert (toy.folder / "params.yaml").read_text().startswith("seed: 0 # of all\nrank: 1\n")
    assert not (toy.folder / "weights.txt").exists()
    assert not list((toy.folder / ".selma/studies/toy").glob("*/.git"))


def test_the_runs_are_ordinary_experiments_with_their_settings(toy):
    _, what = planned(toy)
    listed = toy.dvc("exp", "list", "--name-only").split()
    assert sorted(listed) == sorted(one.name for one in what.experiments)
    name = next(one.name for one in what.experiments if one.label == "high, seed 3")
    revision = toy.git("rev-parse", f"refs/exps/{what.commit[:2]}/{what.commit[2:]}/{name}").strip()
    params = toy.git("show", f"{revision}:params.yaml")
    assert params == "seed: 3 # of all\nrank: 2\nextra:\n  note: common\n"
    lock = toy.git("show", f"{revision}:dvc.lock")
    assert "- path: notes\n      hash: md5\n" in lock and "nfiles: 2" in lock  # one by hand


def test_only_what_a_changed_study_changes_is_another_run(toy, tmp_path):
    """A document or the study's other keys change nothing; a setting its variant; code all."""
    study, what = planned(toy)
    names = [one.name for one in what.experiments]

    def names_of(text):
        (tmp_path / "toy.yaml").write_text(text)
        changed = read_study(tmp_path / "toy.yaml")
        return [one.name for one in plan(changed, toy.folder).experiments]

    assert names_of(STUDY.replace("Does rank help?", "Does it?")) == names
    assert names_of(STUDY.replace("rank=2", "rank=4"))[:3] == names[:3]
    more = names_of(STUDY.replace("low: [", "new: ['+file=notes/more.md']\n  low: ["))
    assert more[3:] == names
    assert not set(names_of(STUDY.replace("rank=2", "rank=4"))[3:]) & set(names)
    assert not set(names_of(STUDY.replace("note: common", "note: x"))) & set(names)
    toy.commit("a document")
    assert [one.name for one in plan(study, toy.folder).experiments] == names
    assert {one.state for one in states(toy.folder, "toy", plan(study, toy.folder))} == {"done"}
    toy.write("stage.py", "")
    toy.commit("code")
    assert not {one.name for one in plan(study, toy.folder).experiments} & set(names)
    toy.git("reset", "--quiet", "--hard", "HEAD~1")


@pytest.mark.parametrize("note", ["models/used", "models/used/part"])
def test_of_another_pipeline_the_outputs_that_are_named_decide(toy, tmp_path, note):
    (tmp_path / "toy.yaml").write_text(STUDY.replace("note: common", f"note: {note}"))
    study = read_study(tmp_path / "toy.yaml")
    (toy.folder / "factory").mkdir()
    toy.write("factory/dvc.yaml", "stages: {make: {matrix: {of: [1]}, wdir: .., cmd: make}}")

    def names_of(lock):
        toy.write("factory/dvc.lock", lock)
        toy.git("add", "--all", "factory")
        toy.git("commit", "--quiet", "--message", "a lock")
        return [one.name for one in plan(study, toy.folder).experiments]

    lock = "stages: {make@1: {outs: [{path: models/used, md5: A}, {path: models/other, md5: B}]}}"
    names = names_of(lock)
    assert names_of(lock.replace("B", "C")) == names
    assert names_of(lock.replace("models/other", f"{note}/more")) != names
    assert not set(names_of(lock.replace("A", "D"))) & set(names)
    toy.git("reset", "--quiet", "--hard", "HEAD~4")


def test_a_change_that_runs_would_not_see_is_refused_and_another_is_not(toy):
    _, what = planned(toy)
    toy.write("README.md", "changed")
    check_committed(toy.folder, what)
    toy.write("params.yaml", "seed: 0\nrank: 5\ngone: 1\n")
    with pytest.raises(ConfigError, match=r"^params.yaml: changed and not committed; .*git stash"):
        check_committed(toy.folder, what)
    toy.git("checkout", "--quiet", "params.yaml", "README.md")


def compared(toy, study=None):
    own, what = planned(toy)
    study = study or own
    found = states(toy.folder, study.name, what)
    ensure_done(found)
    revisions = {state.experiment.name: state.revision for state in found}
    return compare_study(study, read_scores(study, what, revisions, toy.folder))


def test_the_table_holds_the_scores_of_every_seed(toy):
    """Merged of rank 1: 20 + 10 + seed + the mean of 0 … 3 points; base: 20 + 1.5."""
    found = compared(toy)
    rows = found["tables"]["ranks"]["rows"]
    score = rows["rank 1"]["scores"]["dsg"]
    assert score["seed_means"] == pytest.approx([32.5, 33.5, 34.5])
    assert score["score"] == pytest.approx(33.5)
    gain = rows["rank 2"]["differences"]["base"]["dsg"]
    assert gain["seed_means"] == pytest.approx([21.0, 22.0, 23.0])
    assert gain["seed_deviation"] == pytest.approx(1.0)
    # prompts do not differ, so it is Student's interval of three seeds: 4.3027 · 1 / √3
    assert [gain["low"], gain["high"]] == pytest.approx([22 - 2.4841, 22 + 2.4841], abs=1e-3)
    assert (gain["seeds_won"], gain["wins"], gain["ties"], gain["losses"]) == (3, 4, 0, 0)
    assert rows["rank 1"]["differences"]["low"] == {}  # a row with itself
    assert rows["rank 2"]["differences"]["low"]["dsg"]["difference"] == pytest.approx(10.0)


def test_a_claim_is_shown_or_its_opposite(toy):
    verdicts = {claim["claim"]: claim["claim_verdict"] for claim in compared(toy)["claims"]}
    assert verdicts == {"merged beats base": "shown", "base beats merged": "opposite"}


def test_a_table_may_have_a_column_for_each_skill(toy, tmp_path):
    """Items 0 and 2 are of skill s0, and have 0 and 2 points; the others 1 and 3."""
    text = STUDY.replace("{dsg: none}", "{dsg: skill}").replace("{dsg: 30.5,", "{dsg/s1: 30.5,")
    (tmp_path / "toy.yaml").write_text(text)
    found = compared(toy, read_study(tmp_path / "toy.yaml"))
    table = found["tables"]["ranks"]
    assert [about["title"] for about in table["measures"].values()] == ["DSG", "s0", "s1"]
    scores = table["rows"]["rank 1"]["scores"]
    assert [scores[name]["score"] for name in table["measures"]] == pytest.approx([33.5, 33, 34])
    assert scores["dsg/s1"]["n_items"] == 2 and table["family"] == 3 * 3
    lines = [line.split("|")[1:3] for line in as_markdown(found).splitlines() if "|" in line]
    turned = {name.strip(): first.strip() for name, first in lines}  # wide, so rank 1 is a column
    assert turned[""] == "rank 1" and turned["s1, paper"] == "30.5"
    assert turned["s1"].startswith("34.0 (") and turned["s1 − low"] == "–"
    (tmp_path / "toy.yaml").write_text(text.replace("dsg/s1", "dsg/s9"))
    with pytest.raises(ConfigError, match="paper.rank 1: no column dsg/s9; there are base, dsg,"):
        compared(toy, read_study(tmp_path / "toy.yaml"))


def test_the_csv_has_all_records(toy):
    rows = list(csv.DictReader(io.StringIO(as_csv(compared(toy)))))
    assert [(row["table"], row["label"], row["against"]) for row in rows] == [
        ("ranks", "rank 1", ""), ("ranks", "rank 1", "low/base"),
        ("ranks", "rank 2", ""), ("ranks", "rank 2", "high/base"),
        ("ranks", "rank 2", "low/merged"),
        ("claims", "merged beats base", "low/base"), ("claims", "base beats merged", "low/base"),
    ]  # fmt: skip
    assert rows[1]["value"] == "12.0" and rows[1]["paper"] == "9.0"
    assert rows[0]["seed_means"] == "32.500000 33.500000 34.500000"


def test_another_clone_prints_the_tables_of_released_runs(toy):
    """It has the study's file, the bundle beside it, and, in itself, the score tables alone."""
    _, what = planned(toy)
    mine = states(toy.folder, "toy", what)
    bundle = toy.folder / "studies/toy.bundle"
    said = selma(toy, "release", "studies/toy.yaml").stdout
    files = 6 + 6 + 1  # folders, merged, and base, which is the same with every seed and rank
    assert said == f"wrote 6 runs to studies/toy.bundle and pushed {files} files\n"
    assert not list((toy.folder / "release").rglob("runs"))
    other = toy.cloned("with-released")
    shutil.copytree(toy.folder / "release", other.folder / "release")
    shutil.copy(bundle, other.folder / "studies")
    bundle.unlink()
    printed = selma(other, "table", "studies/toy.yaml").stdout
    assert printed == as_markdown(compared(toy))
    assert [one.revision for one in states(other.folder, "toy", what)] == [
        one.revision for one in mine
    ]
    assert other.ran() == []


def test_a_bundle_gives_the_missing_runs_and_leaves_those_that_are_here(toy):
    _, what = planned(toy)
    listed = toy.git("for-each-ref", "--format=%(refname)", "refs/exps").split()
    one, another = [ref for ref in listed if ref.count("/") == 4][:2]
    toy.git("bundle", "create", "--quiet", "toy.git", one, another)
    other = toy.cloned("with-one-of-its-own")
    other.git("update-ref", another, "HEAD")
    take_released(what, other.folder, toy.folder / "toy.git")
    (toy.folder / "toy.git").unlink()
    assert other.git("rev-parse", one) == toy.git("rev-parse", one)
    assert other.git("rev-parse", another) == other.git("rev-parse", "HEAD")


def test_a_damaged_bundle_is_told_and_the_runs_are_missing(toy):
    other = toy.cloned("with-damage")
    (other.folder / "studies/toy.bundle").write_text("no bundle")
    done = selma(other, "status", "studies/toy.yaml")
    assert done.returncode == 0 and "0 of 6 runs are done" in done.stdout
    assert "studies/toy.bundle: its runs are not taken: git bundle failed" in done.stderr


def test_another_clone_takes_all_results_from_the_shared_cache(toy):
    """And without the experiments: git does not clone them."""
    toy.git("init", "--quiet", "--bare", str(toy.home / "shared.git"))
    toy.dvc("exp", "push", "--all-commits", "--remote", "shared", str(toy.home / "shared.git"))
    toy.dvc("push", "--quiet", "--run-cache", "--remote", "shared")
    other = toy.cloned()
    other.dvc("remote", "default", "--local", "shared")
    other.study()
    assert other.ran() == []
    assert compared(other) == compared(toy)


def selma(toy, *arguments):
    command = [sys.executable, "-W", "ignore", "-m", "selma.commands.cli", "study", *arguments]
    return subprocess.run(
        command, cwd=toy.folder, env=environment(toy.home), capture_output=True, text=True
    )


def test_the_command_tells_prints_and_draws(toy):
    said = selma(toy, "status", "studies/toy.yaml").stdout
    assert said.count("done") == 7 and "6 of 6 runs are done" in said
    assert "| merged beats base |" in selma(toy, "table", "studies/toy.yaml").stdout
    page = toy.home / "page.md"
    page.write_text("# x\n<!-- toy -->\n<!-- /toy -->\n")
    printed = selma(toy, "table", "studies/toy.yaml").stdout
    selma(toy, "table", "studies/toy.yaml", "--write", str(page))
    assert page.read_text() == f"# x\n<!-- toy -->\n\n{printed}\n<!-- /toy -->\n"
    out = toy.home / "toy.svg"
    done = selma(toy, "report", "studies/toy.yaml", "--figure", "ranks", "--out", str(out))
    assert done.stdout == f"wrote {out}\n" and out.read_text().startswith("<svg")
    assert printed in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("table", "--out", "params.yaml"), "--out params.yaml: expected a name that ends in .md"),
        (("table", "--format", "csv", "--write", "page.md"), "--write: a page is Markdown"),
        (("report", "--out", "toy.svg"), "--out toy.svg: expected a name that ends in .html"),
    ],
)
def test_a_place_that_does_not_fit_is_refused_before_any_run_is_read(toy, arguments, words):
    file = toy.home / "none.yaml"
    file.write_text(STUDY.replace("name: toy", "name: none"))  # which has no runs
    done = selma(toy, *arguments, str(file))
    assert done.returncode == 2 and words in done.stderr


def test_the_command_checks_every_variants_params_before_it_runs_anything(toy):
    """The toy's params are none of selma's."""
    done = selma(toy, "run", "studies/toy.yaml")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "variant low: params.yaml: " in done.stderr and "variant high: " in done.stderr
    assert "extra is not a known key" in done.stderr


def test_a_row_that_is_no_model_is_one_line(toy, tmp_path):
    text = STUDY.replace("rank 1: low/merged", "rank 1: low/mixture")
    (tmp_path / "toy.yaml").write_text(text)
    study = read_study(tmp_path / "toy.yaml")
    what = plan(study, toy.folder)
    found = states(toy.folder, study.name, what)
    revisions = {state.experiment.name: state.revision for state in found}
    with pytest.raises(MissingDataError, match="data/scores/dsg/mixture.parquet .* is 'mixture' a"):
        read_scores(study, what, revisions, toy.folder)


def test_a_run_that_fails_says_why_and_the_others_go_on(toy):
    toy.write("studies/toy.yaml", STUDY.replace("low: [rank=1]", "low: [rank=1]\n  bad: [rank=13]"))
    (toy.home / "cores").unlink()
    said = toy.study()
    shares = set(map(int, (toy.home / "cores").read_text().split()))
    cores = len(os.sched_getaffinity(0))
    assert shares <= {max(cores // 2, 1), (cores + 1) // 2}  # two runs at once
    assert "bad, seed 2: in scores: unlucky rank (log: " in said
    assert [line for line in toy.ran() if "rank 13" not in line] == []
    _, what = planned(toy)
    assert [one.state for one in states(toy.folder, "toy", what)].count("failed") == 3
    with pytest.raises(Exception, match=r"3 of 9 runs are not done \(bad, seed 1, bad, seed 2"):
        ensure_done(states(toy.folder, "toy", what))
    log = next((toy.folder / ".selma/studies/toy").glob("toy-bad-1-*.log"))
    log.write_text(f"{log.read_text()}{START}ERROR: no space left\n")
    assert read_log(log) == ("", f"no space left (log: {log})")
    toy.git("checkout", "--quiet", "studies/toy.yaml")


def test_a_run_that_cannot_be_set_up_is_named_and_the_others_go_on(toy):
    """Where its clone should be, a file is in the way."""
    text = STUDY.replace("  high: [", "  odd: ['+extra.odd=1']\n  high: [")
    toy.write("studies/toy.yaml", text)
    _, what = planned(toy)
    first, *others = [one for one in what.experiments if one.variant == "odd"]
    obstacle = toy.folder / ".selma/studies/toy" / first.name
    obstacle.write_text("in the way")
    said = toy.study()
    assert "odd, seed 1 failed: [Errno 20] Not a directory" in said
    assert all(f"{one.label} done" in said for one in others)
    found = {one.experiment: one for one in states(toy.folder, "toy", what)}
    assert found[first].state == "failed" and "Not a directory" in found[first].note
    obstacle.unlink()
    assert "odd, seed 1 done" in toy.study()
    toy.git("checkout", "--quiet", "studies/toy.yaml")


def test_a_pipeline_that_is_not_dvcs_fails_its_runs_with_a_line_each(toy):
    text = (toy.folder / "dvc.yaml").read_text()
    for broken in (
        text.replace("    deps: [stage.py]\n", "    dep: [stage.py]\n"),
        f"{text}  x:\n",
    ):
        toy.write("dvc.yaml", broken)
        toy.commit("broken")
        try:
            assert len(re.findall(r"seed \d: DVC: ", toy.study())) == 6
        finally:
            toy.git("reset", "--quiet", "--hard", "HEAD~1")


def test_a_folder_of_the_top_level_decides_the_runs_that_depend_on_it(toy):
    names = {one.name for one in planned(toy)[1].experiments}
    toy.write("notes/more.md", "one more")
    toy.commit("a note")
    try:
        assert not names & {one.name for one in planned(toy)[1].experiments}
    finally:
        toy.git("reset", "--quiet", "--hard", "HEAD~1")


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_runs_at_once_part_the_cores_between_them(monkeypatch, tmp_path, jobs):
    """So none of them waits for another's core; with more runs than cores, one core each."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {4, 5})
    monkeypatch.setattr(running, "check_committed", lambda *_: None)
    monkeypatch.setattr(running, "experiments", lambda *_: {})
    runner = running.Runner(tmp_path, "toy", [], lambda *_: None)
    runner.run(Plan("commit", (), ()), jobs)
    shares = [runner._shares.get_nowait() for _ in range(jobs)]
    assert shares == {1: [{4, 5}], 2: [{4}, {5}], 3: [{4}, {5}, {4}]}[jobs]


def test_a_committed_file_without_keys_is_one_line_and_an_empty_lock_is_none(toy):
    study, what = planned(toy)
    (toy.folder / "factory").mkdir()
    toy.write("factory/dvc.lock", "")
    toy.commit("an empty lock")
    try:
        assert [one.name for one in plan(study, toy.folder).experiments] == [
            one.name for one in what.experiments
        ]
        toy.write("params.yaml", "- seed")
        toy.commit("broken")
        with pytest.raises(ConfigError, match=r"^params.yaml as committed .*: expected keys, got"):
            plan(study, toy.folder)
    finally:
        toy.git("reset", "--quiet", "--hard", what.commit)


@pytest.mark.parametrize("name", ["params.yaml", "dvc.yaml"])
def test_a_committed_file_that_is_no_yaml_is_one_line(toy, name):
    study, _ = planned(toy)
    toy.write(name, "a: [1,\nb: {\n")
    toy.commit("broken")
    try:
        with pytest.raises(
            ConfigError, match=rf"^{name} as committed .*: not valid YAML: "
        ) as told:
            plan(study, toy.folder)
        assert "\n" not in str(told.value)
    finally:
        toy.git("reset", "--quiet", "--hard", "HEAD~1")
