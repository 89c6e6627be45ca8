"""Stage hub@NAME and `selma hub pin`, against a local server that speaks the Hub's interface."""

import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hub_server import LARGE, REVISION, HubServer
from ruamel.yaml import YAML
from tiny_world import ROOT, tiny_params, write_params

from selma.commands.clean import WORK_FOLDER
from selma.runtime.workspace import fingerprint

ROW = {"repo": "owner/model", "revision": REVISION, "files": ["*.json", "unet/*.safetensors"]}
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def hub():
    with HubServer() as server:
        yield server


@pytest.fixture
def folder(tmp_path):
    write(tmp_path)
    return tmp_path


def write(folder, **changes):
    params = tiny_params()
    params["hub"] = {"mine": {**ROW, **changes}}
    write_params(folder, params)


def start(folder, hub, arguments="-m stages.hub --name mine --out models/hub/mine", **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_ROOT": str(folder)}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "hf")}
    environment |= {"HF_HUB_DOWNLOAD_TIMEOUT": "5", **options.pop("environment", {})}
    return subprocess.Popen(
        [sys.executable, *arguments.split()], cwd=folder, env=environment,
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def run(folder, hub, *arguments, **options):
    process = start(folder, hub, *arguments, **options)
    said, told = process.communicate(timeout=120)
    return process.returncode, said, told


def fetched(folder):
    place = folder / "models/hub/mine"
    return {str(p.relative_to(place)): p.read_bytes() for p in place.rglob("*") if p.is_file()}


def refused(folder, hub, code, **options):
    """The one line that says what is wrong; nothing has appeared."""
    found, _, told = run(folder, hub, **options)
    assert found == code, told
    lines = re.findall("selma: error: .*", told)
    assert len(lines) == 1, told
    assert "Traceback" not in told
    assert not (folder / "models/hub/mine").exists()
    return lines[0]


def test_the_files_named_appear_whole_and_nothing_else(folder, hub):
    code, _, told = run(folder, hub)
    assert code == 0, told
    expected = {n: d for n, d in hub.files.items() if not n.endswith(".bin")}
    assert fetched(folder) == expected
    assert "owner/model at 0123456789, 0.03 GB" in told
    assert [path.name for path in (folder / "models/hub").iterdir()] == ["mine"]
    assert list((folder / ".selma/work").iterdir()) == []


def test_a_line_that_is_cut_is_one_line_and_the_next_run_goes_on_from_there(folder, hub):
    hub.cut_after = 15 * 2**20
    line = refused(folder, hub, 4)
    assert "broke off" in line
    assert "run the same command to go on" in line
    hub.cut_after = None
    hub.requests.clear()
    code, _, told = run(folder, hub)
    assert code == 0, told
    assert fetched(folder)[WEIGHTS] == LARGE
    ranges = [one for command, path, one in hub.requests if command == "GET" and WEIGHTS in path]
    assert ranges == [f"bytes={10 * 2**20}-"]


def test_a_killed_slow_download_goes_on(folder, hub):
    hub.pause = 0.02
    process = start(folder, hub)
    while not any(p.stat().st_size > 2**20 for p in parts_of(folder)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (folder / "models/hub").exists() or not list((folder / "models/hub").iterdir())
    hub.pause = 0.0
    hub.requests.clear()
    assert run(folder, hub)[0] == 0
    assert fetched(folder)[WEIGHTS] == LARGE
    assert any(one and one != "bytes=0-" for _, path, one in hub.requests if WEIGHTS in path)


def parts_of(folder):
    """What has come so far: it lies in the stage's own work folder."""
    return (folder / ".selma/work").glob("hub-mine-*/files/**/*.part")


def test_what_has_come_is_found_again_by_the_row_alone_and_can_be_thrown_away(folder, hub):
    hub.cut_after = 15 * 2**20
    refused(folder, hub, 4)
    (work,) = (folder / ".selma/work").iterdir()
    settings = {**ROW}
    assert work.name == f"hub-mine-{fingerprint('hub-mine', [], settings, computed=False)}"
    assert fingerprint("hub-mine", [], settings) not in work.name  # which code would change
    assert WORK_FOLDER.fullmatch(work.name)
    hub.cut_after = None
    hub.requests.clear()
    assert run(folder, hub, environment={"SELMA_FRESH": "1"})[0] == 0
    ranges = [one for command, path, one in hub.requests if command == "GET" and WEIGHTS in path]
    assert not any(one and one != "bytes=0-" for one in ranges)


@pytest.mark.skipif(
    not Path("/dev/shm").is_dir() or os.stat("/dev/shm").st_dev == os.stat("/tmp").st_dev,
    reason="there is no other disk",
)
def test_a_target_on_another_disk_appears_whole(folder, hub):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        (folder / "models").mkdir()
        (folder / "models/hub").symlink_to(other)
        (Path(other) / ".mine.part").mkdir()  # of a run that was killed while it copied
        code, _, told = run(folder, hub)
        assert code == 0, told
        assert fetched(folder)[WEIGHTS] == LARGE
        assert [path.name for path in Path(other).iterdir()] == ["mine"]
        assert list((folder / ".selma/work").iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"repo": "owner/other"}, ["owner/other: there is no such repository", "HF_TOKEN"]),
        ({"revision": "f" * 40}, ["owner/model: has no revision", "selma hub pin"]),
        ({"files": ["unet/*.gguf"]}, ["has none that fits 'unet/*.gguf'", "model_index.json"]),
    ],
    ids=["repository", "revision", "pattern"],
)
def test_a_wrong_row_is_one_line(folder, hub, changes, told):
    write(folder, **changes)
    line = refused(folder, hub, 2 if "files" in changes else 4)
    assert all(part in line for part in told), line


def test_a_private_repository_is_opened_by_the_token_of_the_environment(folder, hub):
    hub.token = "secret"
    assert "HF_TOKEN" in refused(folder, hub, 4)
    code, _, told = run(folder, hub, environment={"HF_TOKEN": "secret"})
    assert code == 0, told
    assert "secret" not in told + "".join(
        p.read_text() for p in (folder / ".selma").rglob("*.jsonl")
    )


def test_a_gated_repository_says_where_to_ask(folder, hub):
    hub.gated = True
    assert "ask for it on the repository's page" in refused(folder, hub, 4)


def test_bytes_that_are_not_the_promised_ones_are_thrown_away(folder, hub):
    hub.served[WEIGHTS] = LARGE[:-1] + b"x"
    assert f"{WEIGHTS} does not have the hash" in refused(folder, hub, 2)
    hub.served.clear()
    assert run(folder, hub)[0] == 0
    assert fetched(folder)[WEIGHTS] == LARGE


def test_a_full_disk_is_one_line_and_the_next_run_goes_on(folder, hub):
    line = refused(
        folder, hub, 2,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20)),
    )  # fmt: skip
    assert "too large" in line or "full" in line
    assert run(folder, hub)[0] == 0


def test_more_bytes_than_the_disk_has_are_refused_before_any_is_fetched(tmp_path, hub, monkeypatch):
    from selma.core.errors import BackendError
    from selma.hub import snapshots

    files = [snapshots.RemoteFile("a", 10**12, None, "0" * 40)]
    monkeypatch.setattr(
        snapshots.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10**9})
    )
    with pytest.raises(BackendError, match=r"1000\.0 GB are still to come and 1\.0 GB are free"):
        snapshots.bring(
            "owner/model", REVISION, files, tmp_path / "work", tmp_path / "out", lambda _: None
        )


@pytest.mark.parametrize("name", ["../../out.json", "/tmp/out.json"])
def test_a_name_that_leads_out_of_the_folder_is_refused(folder, hub, name):
    hub.files[name] = b"{}"
    assert "leads out of its folder" in refused(folder, hub, 2)


def test_a_hub_that_cannot_be_reached_is_one_line(folder, hub):
    hub.__exit__()
    line = refused(folder, hub, 4)
    assert "cannot be reached" in line
    assert "HF_ENDPOINT" in line


def test_an_open_revision_is_refused_and_pin_fills_it_in_and_changes_no_other_line(folder, hub):
    path = folder / "params.yaml"
    path.write_text((ROOT / "presets/sdxl.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    before = path.read_text(encoding="utf-8").replace(
        "stabilityai/stable-diffusion-xl-base-1.0", "owner/model"
    )
    path.write_text(before, encoding="utf-8")
    open_row = "-m stages.hub --name backbone --out models/hub/mine"
    code, _, told = run(folder, hub, open_row)
    assert code == 2
    assert "`selma hub pin backbone` fills it" in told
    code, said, told = run(folder, hub, "-m selma.commands.cli hub pin backbone")
    assert code == 0, told
    assert said == f"hub.backbone: owner/model at {REVISION}\n"
    after = path.read_text(encoding="utf-8").splitlines()
    changed = [line for line, old in zip(after, before.splitlines(), strict=True) if line != old]
    assert changed == [f"    revision: {REVISION} # null is open: selma hub pin backbone"]
    assert YAML(typ="safe").load(path)["hub"]["backbone"]["revision"] == REVISION


def test_nothing_asks_the_network_after_the_fetch():
    sources = [p.read_text(encoding="utf-8") for p in Path(ROOT, "selma").rglob("*.py")]
    assert sum("huggingface_hub" in text for text in sources) == 1


@pytest.mark.parametrize("line", ["revision:", "revision: # open"])
def test_a_value_that_is_not_written_out_is_not_filled_in(tmp_path, line):
    from selma.core.errors import ConfigError
    from selma.runtime.yaml_files import set_value

    path = tmp_path / "params.yaml"
    for text in (f"hub:\n  a:\n    {line}\n    files: [x]\n", f"hub:\n  a:\n    {line}"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match=r"hub\.a\.revision: cannot be filled in"):
            set_value(path, ("hub", "a", "revision"), "f" * 40)
        assert path.read_text(encoding="utf-8") == text


def test_a_value_in_a_line_of_several_is_filled_in_and_line_ends_stay(tmp_path):
    from selma.runtime.yaml_files import set_value

    path = tmp_path / "params.yaml"
    path.write_bytes(b"hub: {a: {revision: null, files: [x]}} # both\r\nb: 1\r\n")
    set_value(path, ("hub", "a", "revision"), "e" * 40)
    expected = f"hub: {{a: {{revision: {'e' * 40}, files: [x]}}}} # both\r\nb: 1\r\n"
    assert path.read_bytes() == expected.encode()
