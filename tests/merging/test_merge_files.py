"""Files in, one file and its certificate out; and the file verified by doing it again."""

import json

import pytest
import torch
from safetensors.torch import load_file

from selma.adapters.factors import LoraFactors
from selma.adapters.files import read_adapter, read_provenance, write_adapter
from selma.commands.cli import main
from selma.core.errors import DifferenceError, InconclusiveError
from selma.core.fingerprints import content_sha256
from selma.merging.merge_files import merge_files
from selma.merging.verification import verify


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, factors):
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate("abc"):
        adapter = {"unet.x": factors(seed), "unet.y": factors(seed + 9, out=4)}
        write_adapter(tmp_path / f"{name}.safetensors", adapter, {"name": name})
    return tmp_path


FILES = [f"{name}.safetensors" for name in "abc"]
OUT = "m.safetensors"


def command(*arguments):
    return main(["merge", *map(str, arguments)])


def test_the_certificate_beside_the_file_says_what_was_merged_and_how_well(folder, capsys):
    assert command(*FILES, "-o", OUT, "--method", "ties", "--set", "density=0.5", "--rank", 3) == 0
    found = json.loads((folder / "m.certificate.json").read_text())
    assert found["inputs"] == {name: content_sha256(folder / f"{name}.safetensors")
                               for name in "abc"}  # fmt: skip
    assert found["sha256"] == content_sha256(folder / OUT)
    assert (found["settings"]["method"], found["settings"]["rank"]) == ("ties", 3)
    assert (found["settings"]["parameters"], found["rank"]) == ({"density": 0.5}, 3)
    assert "elected sign" in found["formula"]
    assert set(found["layers"]) == {"unet.x", "unet.y"}
    assert f"relative error {found['relative_error']:.1e} against" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options",
    [
        (), ("--weights", 3, 1, 0), ("--rank", 2), ("--error-max", 0.2), ("--match-norm",),
        ("--method", "dare", "--set", "density=0.5", "--seed", 4), ("--dtype", "float16"),
        ("--method", "core_space", "--set", "inner={method: ties, density: 0.5}"),
    ],
    ids=str,
)  # fmt: skip
def test_a_merge_is_verified_by_doing_it_again_whatever_the_files_are_called(
    folder, options, capsys
):
    assert command(*FILES, "-o", OUT, *options) == 0
    (folder / "a.safetensors").rename("renamed.safetensors")
    inputs = ["renamed.safetensors", "c.safetensors", "b.safetensors"]
    assert command("--verify", OUT, *inputs) == 0
    assert "verified: the same bytes" in capsys.readouterr().out


def test_without_an_input_the_answer_is_inconclusive(capsys):
    command(*FILES, "-o", OUT)
    assert command("--verify", OUT, *FILES[:2]) == 6
    said = capsys.readouterr().err
    assert "inconclusive: no file given is c (" in said and said.count("\n") == 1


def changed(path, by):
    tensors = read_adapter(path)
    first = tensors["unet.x"]
    moved = LoraFactors(first.lora_a * (1 + by), first.lora_b)
    record = {key: value for key, value in read_provenance(path).items() if key != "format"}
    write_adapter(path, {**tensors, "unet.x": moved}, record)


def test_another_merge_is_told_from_rounding(folder, capsys):
    command(*FILES, "-o", OUT)
    changed(folder / OUT, 1e-6)
    assert command("--verify", OUT, *FILES) == 6
    assert "the same up to rounding (at most 9.5e-07" in capsys.readouterr().err
    changed(folder / OUT, 0.01)
    assert command("--verify", OUT, *FILES) == 5
    assert "differs from the merge of these experts by 1.0e-02" in capsys.readouterr().err


def test_a_merge_that_claims_other_weights_is_found_out(folder):
    command(*FILES, "-o", OUT, "--weights", 3, 1, 1)
    record = {k: v for k, v in read_provenance(folder / OUT).items() if k != "format"}
    record["merge"]["weights"] = dict.fromkeys("abc", 1.0)
    write_adapter(folder / OUT, read_adapter(folder / OUT), record)
    with pytest.raises(DifferenceError, match="differs from the merge"):
        verify(folder / OUT, [folder / name for name in FILES])


def test_a_layer_more_or_less_is_found_out(folder):
    command(*FILES, "-o", OUT)
    record = {k: v for k, v in read_provenance(folder / OUT).items() if k != "format"}
    adapter = read_adapter(folder / OUT)
    del adapter["unet.y"]
    write_adapter(folder / OUT, adapter, record)
    with pytest.raises(DifferenceError, match=r"unet\.y is in one of them alone"):
        verify(folder / OUT, [folder / name for name in FILES])


def test_a_record_that_is_not_enough_is_inconclusive_and_none_is_an_error(folder, capsys):
    command(*FILES, "-o", OUT)
    record = read_provenance(folder / OUT)
    del record["merge"]["seed"], record["format"]
    write_adapter(folder / OUT, read_adapter(folder / OUT), record)
    with pytest.raises(InconclusiveError, match="lacks what a replay needs"):
        verify(folder / OUT, [])
    assert command("--verify", "a.safetensors", *FILES) == 2
    assert "holds no record of a merge" in capsys.readouterr().err


def test_files_without_weight_are_not_read_and_files_of_one_name_get_their_folders(folder):
    (folder / "other").mkdir()
    (folder / "other/a.safetensors").write_bytes((folder / "b.safetensors").read_bytes())
    (folder / "broken.safetensors").write_text("no")
    files = ["a.safetensors", "other/a.safetensors", "broken.safetensors"]
    assert command(*files, "-o", OUT, "--weights", 1, 1, 0) == 0
    assert set(read_provenance(folder / OUT)["experts"]) == {f"{folder.name}/a", "other/a"}
    assert command("a.safetensors", "a.safetensors", "-o", OUT) == 2


def test_weights_of_blocks_come_from_a_yaml_file(folder, factors):
    (folder / "w.yaml").write_text("a: 1.0\n")
    assert command(*FILES[:2], "-o", OUT, "--weights", "w.yaml") == 2  # b was given too
    (folder / "w.yaml").write_text("a: {all: 1.0, unet.y: 0.0}\nb: 1.0\n")
    assert command(*FILES[:2], "-o", OUT, "--weights", "w.yaml") == 0
    torch.testing.assert_close(
        read_adapter(folder / OUT)["unet.y"].delta(), 0.5 * factors(10, out=4).delta()
    )


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--weights", "w.yaml"), "w.yaml: no such file"),
        (("--weights", "1", "x", "1"), "--weights: expected numbers, got 1 x 1"),
        (("--weights", "1"), "--weights: expected one for each of 3 different files, got 1"),
        (("--set", "density"), "--set: expected KEY=VALUE"),
        (("--set", "density={"), "--set density: not valid YAML"),
        (("--method", "svd"), "merge.rank and merge.error_max: expected one of them"),
        (("--rank", "0"), "merge.rank: must be from 1 to 100000, got 0"),
        (("--rank", "-1"), "merge.rank: must be from 1"),
        (("--error-max", "nan"), "merge.error_max: must be below 1 and, for float32, at least"),
        (("--error-max", "2"), "merge.error_max: must be below 1"),
        (("--error-max", "1e-4", "--dtype", "float16"), "for float16, at least 0.002"),
        (("--seed", "-1"), "merge.seed: must be from 0"),
        (("--scale", "1001"), "merge.scale: must be from -1000 to 1000"),
        (("--weights", "1e308", "1e308", "1"), "merge.weights.a: must be from -1e+09 to 1e+09"),
    ],
)
def test_wrong_options_are_one_line_and_nothing_is_written(folder, options, problem, capsys):
    assert command(*FILES, "-o", OUT, *options) in (2, 3)
    said = capsys.readouterr().err
    assert problem in said and said.count("\n") == 1
    assert not (folder / OUT).exists() and not (folder / "m.certificate.json").exists()


def test_methods_are_listed_with_formulas_and_parameters(capsys):
    assert command("--methods") == 0
    said = capsys.readouterr().out
    assert "delta_mean" in said and "ΔW = Σ wₜ ΔWₜ" in said
    assert next(line for line in said.splitlines() if line.startswith("ties")).endswith("density=…")


def test_the_file_holds_what_was_certified(folder, settings):
    files = {name: folder / f"{name}.safetensors" for name in "abc"}
    given = settings(dict.fromkeys("abc", 1.0))
    facts = merge_files(files, folder / OUT, given, certificate=folder / "c.json")
    assert json.loads((folder / "c.json").read_text()) == facts
    tensors = load_file(folder / OUT)
    written = sum(
        float((tensors[f"{n}.lora_B.weight"] @ tensors[f"{n}.lora_A.weight"]).square().sum())
        for n in ("unet.x", "unet.y")
    )
    assert facts["merged_norm"] == pytest.approx(written**0.5, abs=1e-3)


def test_adapters_of_two_base_models_are_refused_though_their_layers_share_names(folder, capsys):
    layer = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn{}"
    sd1 = {
        layer.format("1.to_q"): LoraFactors(torch.ones(1, 640), torch.ones(640, 1)),
        "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q": LoraFactors(
            torch.ones(1, 320), torch.ones(320, 1)
        ),
    }
    sdxl = {
        layer.format("1.to_q"): LoraFactors(torch.ones(1, 640), torch.ones(640, 1)),
        layer.format("2.to_k"): LoraFactors(torch.ones(1, 2048), torch.ones(640, 1)),
    }
    write_adapter(folder / "one.safetensors", sd1, {})
    write_adapter(folder / "xl.safetensors", sdxl, {})
    assert command("one.safetensors", "xl.safetensors", "-o", OUT) == 2
    said = capsys.readouterr().err
    assert "of different base models: one of sd1 or sd2, xl of sdxl" in said
    assert not (folder / OUT).exists()


@pytest.mark.parametrize("text", ["mine", "{}", "[]", '{"settings": 1}'])
def test_what_is_no_certificate_is_not_written_over(folder, text, capsys):
    path = folder / "m.certificate.json"
    path.write_text(text)
    assert command(*FILES, "-o", OUT) == 2
    assert "is there and is no certificate of a merge" in capsys.readouterr().err
    assert path.read_text() == text and not (folder / OUT).exists()


def test_an_older_certificate_goes_before_its_merge_does(folder):
    assert command(*FILES, "-o", OUT) == 0
    first = json.loads((folder / "m.certificate.json").read_text())
    assert command(*FILES, "-o", OUT, "--scale", 2) == 0
    second = json.loads((folder / "m.certificate.json").read_text())
    assert second["sha256"] == content_sha256(folder / OUT) != first["sha256"]


@pytest.mark.parametrize(
    "changes",
    [{"weights": "abc"}, {"dtype": 3}, {"rank": "eight"}, {"seed": None}, {"parameters": [1]}],
    ids=str,
)
def test_a_record_that_cannot_be_read_is_inconclusive(folder, changes):
    command(*FILES, "-o", OUT)
    record = {k: v for k, v in read_provenance(folder / OUT).items() if k != "format"}
    record["merge"] |= changes
    write_adapter(folder / OUT, read_adapter(folder / OUT), record)
    with pytest.raises(InconclusiveError, match="lacks what a replay needs"):
        verify(folder / OUT, [folder / name for name in FILES])


def test_an_export_of_a_merge_is_not_taken_for_another_merge(folder):
    command(*FILES, "-o", OUT)
    record = {k: v for k, v in read_provenance(folder / OUT).items() if k != "format"}
    write_adapter(folder / OUT, read_adapter(folder / OUT), {**record, "exported": {}})
    with pytest.raises(InconclusiveError, match="exported from a merge"):
        verify(folder / OUT, [folder / name for name in FILES])
