"""RegMean's update has the outputs nearest to the experts', by plain least squares."""

import json
from dataclasses import replace

import pytest
import torch

from selma.adapters.files import read_adapter, read_provenance, write_adapter
from selma.core.errors import AdapterMismatchError, ConfigError, InconclusiveError
from selma.core.fingerprints import content_sha256
from selma.merging.fits import fit_regmean, learned_merge, write_fit
from selma.merging.merge import Settings, merge
from selma.merging.merge_files import merge_files
from selma.merging.methods.regmean import input_maps, output_error, regmean
from selma.merging.verification import verify

WEIGHTS = {"count": 1.0, "common": 2.5}
MEAN = Settings(
    method="delta_mean", weights=WEIGHTS, scale=1.0, rank=None, error_max=None, match_norm=False,
    parameters={}, dtype="float32", seed=0,
)  # fmt: skip
MADE = {"name": "mine", "fit": {"kind": "regmean", "scale": 1.0}}
TEXT, OTHER = "unet.mid.attn2.to_k", "unet.mid.attn1.to_k"


def beside(out):
    return out.with_suffix(".certificate.json")


def inputs(seed, rows=40, width=5):
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)).double()


def gram(rows):
    return rows.T @ rows / len(rows)


def solved(experts, grams, weights=WEIGHTS, off_diagonals=1.0):
    return regmean(experts, weights, input_maps(grams, weights, off_diagonals)).delta()


def close(one, other, within=1e-6):
    return bool((one - other).abs().max() <= within * other.abs().max())


@pytest.fixture
def two(factors):
    return {"count": factors(0, scale=0.5), "common": factors(1)}


@pytest.fixture
def seen():
    return {"count": inputs(2), "common": inputs(3) @ inputs(4)[:5]}


def test_it_solves_the_weighted_least_squares_problem(two, seen):
    """Rows √(wₜ / nₜ) Xₜ that shall be mapped to √(wₜ / nₜ) Xₜ ΔWₜᵀ, solved by lstsq."""
    roots = {skill: (WEIGHTS[skill] / len(rows)) ** 0.5 for skill, rows in seen.items()}
    left = torch.cat([roots[s] * seen[s] for s in two])
    right = torch.cat([roots[s] * seen[s] @ two[s].delta().T for s in two])
    expected = torch.linalg.lstsq(left, right).solution.T
    found = solved(two, {skill: gram(rows) for skill, rows in seen.items()})
    assert close(found, expected)
    mean = sum(WEIGHTS[s] * two[s].delta() for s in two) / 3.5
    assert not close(found, mean, within=0.1)


def test_equal_experts_give_that_expert(two, seen):
    same = dict.fromkeys(two, two["count"])
    assert close(solved(same, {s: gram(rows) for s, rows in seen.items()}), two["count"].delta())


def test_equal_inputs_give_the_mean(two, seen):
    found = solved(two, dict.fromkeys(two, gram(seen["common"])))
    assert close(found, sum(WEIGHTS[s] * two[s].delta() for s in two) / 3.5)


def test_weights_are_relative(two, seen):
    grams = {s: gram(rows) for s, rows in seen.items()}
    twice = {s: 2 * w for s, w in WEIGHTS.items()}
    assert close(solved(two, grams, twice), solved(two, grams))


def test_it_does_not_depend_on_how_an_update_is_split_into_factors(two, seen):
    grams = {s: gram(rows) for s, rows in seen.items()}
    turn = torch.tensor([[2.0, 1.0], [0.5, 3.0]])
    other = {
        s: replace(one, lora_b=one.lora_b @ turn, lora_a=torch.linalg.inv(turn) @ one.lora_a)
        for s, one in two.items()
    }
    assert close(solved(other, grams), solved(two, grams), within=1e-5)


def test_without_off_diagonals_each_input_is_weighed_alone(two, seen):
    """Column j is the mean of the experts' columns j, by weight times power of input j."""
    powers = {s: WEIGHTS[s] * (rows**2).mean(0) for s, rows in seen.items()}
    expected = sum(powers[s] * two[s].delta() for s in two) / sum(powers.values())
    found = solved(two, {s: gram(rows) for s, rows in seen.items()}, off_diagonals=0.0)
    assert close(found, expected)


def test_inputs_of_too_few_dimensions_are_told_and_shrinking_helps(two):
    grams = {s: gram(inputs(seed, rows=2)) for seed, s in enumerate(two)}
    with pytest.raises(ConfigError, match="off_diagonals: .* do not span all 5 .* lower it"):
        input_maps(grams, WEIGHTS, 1.0)
    assert solved(two, grams, off_diagonals=0.9).isfinite().all()


def test_the_output_error_is_that_of_the_outputs(two, seen):
    rows = seen["count"]
    outputs = rows @ (two["count"].delta() - two["common"].delta()).T
    expected = float(outputs.square().sum() / len(rows))
    found = output_error(two["count"], two["common"], gram(rows))
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.fixture
def adapters(factors):
    return {
        skill: {TEXT: factors(seed, rank=2), OTHER: factors(seed + 5, rank=2)}
        for seed, skill in enumerate(WEIGHTS)
    }


def fit(adapters, seen, **changes):
    given = {"text_layers": ("attn2.to_k",), "weights": WEIGHTS, "scale": 1.0}
    given |= {"off_diagonals": 0.9, **changes}
    return fit_regmean(adapters, {s: gram(rows) for s, rows in seen.items()}, **given)


def test_only_layers_that_read_the_text_are_solved_all_others_are_the_mean(adapters, seen):
    fitted = fit(adapters, seen)
    mean = merge(adapters, MEAN).adapter
    assert close(fitted.target[OTHER].delta(), mean[OTHER].delta())
    assert not close(fitted.target[TEXT].delta(), mean[TEXT].delta(), within=0.1)
    errors = fitted.facts["output_error"]
    assert 0 < errors["fit"] < errors["mean"]
    assert fitted.facts["text_layers"] == 1


def test_the_scale_multiplies_all_layers(adapters, seen):
    once, twice = fit(adapters, seen), fit(adapters, seen, scale=2.0)
    for layer in (TEXT, OTHER):
        assert close(twice.target[layer].delta(), 2 * once.target[layer].delta())
    assert twice.facts["output_error"] == once.facts["output_error"]
    assert sum(twice.facts["weights"].values()) == pytest.approx(2.0)


def test_text_states_of_another_width_and_a_model_without_such_layers_are_refused(adapters, seen):
    with pytest.raises(AdapterMismatchError, match="reads 5 numbers, the text states .* 4 wide"):
        fit(adapters, {**seen, "count": inputs(0, width=4)})
    with pytest.raises(ConfigError, match="no expert changes a layer that reads the text alone"):
        fit(adapters, seen, text_layers=())


@pytest.fixture
def files(adapters, tmp_path):
    paths = {skill: tmp_path / f"{skill}.safetensors" for skill in adapters}
    for skill, path in paths.items():
        write_adapter(path, adapters[skill], {"name": skill})
    return paths


def test_what_is_written_is_certified_against_the_exact_target(adapters, seen, files, tmp_path):
    out = tmp_path / "out.safetensors"
    facts = write_fit(
        out, fit(adapters, seen), files, rank=None, provenance=MADE, certificate=beside(out)
    )
    assert facts["rank"] == 4
    assert facts["relative_error"] < 1e-6
    assert 0 < facts["cosine_to_mean"] < 0.999
    made = read_provenance(out)
    expert = {"name": "count", "format": 1, "sha256": content_sha256(files["count"])}
    assert (made["name"], made["experts"]["count"]) == ("mine", expert)
    target = fit(adapters, seen).target[TEXT]
    assert json.loads(beside(out).read_text()) == facts
    assert facts["sha256"] == content_sha256(out)
    assert facts["inputs"] == {skill: content_sha256(path) for skill, path in files.items()}
    assert facts["settings"] == MADE["fit"] and "is least" in facts["formula"]
    for layer, own in facts["layers"].items():
        norm = float(read_adapter(out)[layer].delta().norm())
        assert own["norm"] == pytest.approx(norm, rel=1e-4) and own["absent"] == []
    short = write_fit(
        out, fit(adapters, seen), files, rank=1, provenance=MADE, certificate=beside(out)
    )
    assert short["rank"] == 1
    lost = torch.linalg.svdvals(target.delta())[1:].norm() ** 2
    lost += torch.linalg.svdvals(fit(adapters, seen).target[OTHER].delta())[1:].norm() ** 2
    whole = sum(one.delta().norm() ** 2 for one in fit(adapters, seen).target.values())
    assert short["relative_error"] == pytest.approx(float((lost / whole) ** 0.5), rel=0.05)


def test_learned_weights_of_each_layer_are_an_ordinary_merge_that_can_be_verified(
    adapters, files, tmp_path
):
    weights = {TEXT: {"count": 2.0, "common": -1.0}, OTHER: {"count": 0.0, "common": 0.3}}
    out = tmp_path / "out.safetensors"
    merge_files(
        files, out, learned_merge(weights), certificate=tmp_path / "c.json", made={"name": "mine"}
    )
    written = read_adapter(out)
    expected = 2.0 * adapters["count"][TEXT].delta() - adapters["common"][TEXT].delta()
    assert close(written[TEXT].delta(), expected)
    assert close(written[OTHER].delta(), 0.3 * adapters["common"][OTHER].delta())
    assert read_provenance(out)["name"] == "mine"
    assert "verified" in verify(out, list(files.values()))


def test_regmean_counts_an_expert_without_the_layer_as_zero(adapters, seen):
    whole = fit(adapters, seen)
    zero = replace(adapters["common"][TEXT], lora_b=torch.zeros(6, 2))
    adapters["common"] = {OTHER: adapters["common"][OTHER]}
    lacking = fit(adapters, seen)
    adapters["common"] = {**adapters["common"], TEXT: zero}
    assert close(lacking.target[TEXT].delta(), fit(adapters, seen).target[TEXT].delta())
    assert lacking.facts == fit(adapters, seen).facts
    assert not close(lacking.target[TEXT].delta(), whole.target[TEXT].delta(), within=0.1)


def test_a_fit_is_no_merge_that_can_be_replayed_from_the_experts_alone(
    adapters, seen, files, tmp_path
):
    out = tmp_path / "out.safetensors"
    write_fit(out, fit(adapters, seen), files, rank=None, provenance=MADE, certificate=beside(out))
    with pytest.raises(InconclusiveError, match="fitted to data"):
        verify(out, list(files.values()))
