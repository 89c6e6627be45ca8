"""Identities that merge methods keep, or are known to break, on random experts."""

from dataclasses import replace

import pytest
import torch
from method_parameters import PARAMETERS

from selma.adapters.factors import LoraFactors
from selma.core.errors import AdapterMismatchError, ConfigError
from selma.merging.methods.catalogue import METHODS, check_method, formula, layer_merger
from selma.merging.methods.elementwise import elected_mean, prune

EVERYTHING = {  # nothing is pruned or dropped
    "ties": {"density": 1.0}, "dare": {"density": 1.0}, "dare_ties": {"density": 1.0},
    "magnitude_prune": {"density": 1.0}, "knots": {"density": 1.0},
    "core_space": {"inner": {"method": "ties", "density": 1.0}},
}  # fmt: skip
FACTOR_SPACE = {"factor_mean", "peft_linear"}
EQUAL_ALONE = {"released"}  # weighs all experts alike
LINEAR = ["delta_mean", "concat", "svd", "dare"]
SEEDS = range(4)
SHAPES = {"wide": (12, 20, 3), "tall": (20, 12, 3), "rank above a side": (6, 30, 4)}


def merged(method, experts, weights=None, parameters=PARAMETERS, seed=0):
    weights = weights or dict.fromkeys(experts, 1 / len(experts))
    update = layer_merger(method, parameters.get(method, {}))(experts, weights, seed)
    return update.delta() if isinstance(update, LoraFactors) else update


def experts_of(factors, seed, shape="wide", number=3):
    out, inside, rank = SHAPES[shape]
    return {
        name: factors(10 * seed + place, out=out, inside=inside, rank=rank, scale=0.5 + place)
        for place, name in enumerate("abc"[:number])
    }


def close(left, right, tolerance=1e-6):
    torch.testing.assert_close(left, right, rtol=0, atol=tolerance * float(right.norm()) + 1e-12)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("method", sorted(set(METHODS) - FACTOR_SPACE - {"dare", "dare_ties"}))
def test_a_merge_does_not_depend_on_how_an_update_is_split_into_factors(
    factors, method, shape, seed
):
    experts = experts_of(factors, seed, shape)
    generator = torch.Generator().manual_seed(seed)
    refactored = {}
    for name, one in experts.items():
        mix = torch.eye(one.rank).double() + 0.3 * torch.randn(
            one.rank, one.rank, generator=generator, dtype=torch.float64
        )
        refactored[name] = replace(
            one,
            lora_a=torch.linalg.inv(mix) @ one.lora_a.double(),
            lora_b=one.lora_b.double() @ mix,
        )
    close(merged(method, refactored), merged(method, experts))


@pytest.mark.parametrize("method", ["factor_mean", "peft_linear"])
def test_means_of_factors_depend_on_the_split_and_so_are_named_for_it(factors, method):
    experts = experts_of(factors, 0)
    flipped = {**experts, "a": replace(experts["a"], lora_a=-experts["a"].lora_a,
                                       lora_b=-experts["a"].lora_b)}  # fmt: skip
    assert (merged(method, flipped) - merged(method, experts)).norm() > 0.1


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_the_experts_changes_nothing(factors, method, shape, seed):
    experts = experts_of(factors, seed, shape)
    weights = dict.fromkeys(experts, 0.4)
    backwards = dict(reversed(experts.items()))
    assert torch.equal(merged(method, backwards, weights), merged(method, experts, weights))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("method", sorted(set(METHODS) - {"dare", "dare_ties"}))
def test_other_names_of_the_experts_change_nothing(factors, method, shape):
    experts = experts_of(factors, 1, shape)
    renamed = {new: experts[old] for new, old in zip("zyx", experts, strict=True)}
    close(merged(method, renamed), merged(method, experts))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("method", METHODS)
def test_the_merge_of_negated_experts_is_the_negated_merge(factors, method, seed):
    experts = experts_of(factors, seed)
    negated = {name: replace(one, lora_b=-one.lora_b) for name, one in experts.items()}
    close(merged(method, negated), -merged(method, experts))


@pytest.mark.parametrize("method", METHODS)
def test_the_merge_grows_with_the_scale(factors, method):
    experts = experts_of(factors, 2)
    thirds, twice = dict.fromkeys(experts, 1 / 3), dict.fromkeys(experts, 2 / 3)
    close(merged(method, experts, twice), 2 * merged(method, experts, thirds))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("method", LINEAR)
def test_linear_methods_are_linear_in_their_weights(factors, method, seed):
    experts = experts_of(factors, seed)
    one, other = {"a": 0.2, "b": 0.5, "c": 0.3}, {"a": 0.7, "b": 0.1, "c": 0.4}
    both = {name: one[name] + 2 * other[name] for name in experts}
    sum_of = merged(method, experts, one) + 2 * merged(method, experts, other)
    close(merged(method, experts, both), sum_of)


COPIES = sorted(set(METHODS) - {"iso_core", "released", "peft_linear"})


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("method", COPIES)
def test_copies_of_one_expert_give_that_expert(factors, method, shape):
    expert = experts_of(factors, 3, shape)["a"]
    copies = dict.fromkeys("abc", expert)
    weights = dict.fromkeys(copies, 1 / 3)
    if method != "tsv":  # whose shares are of the singular vectors kept
        weights = {"a": 0.2, "b": 0.3, "c": 0.5}
    if method != "tsv" or expert.rank <= min(expert.shape) // 3:
        close(merged(method, copies, weights, EVERYTHING), expert.delta())


def test_peft_linear_gives_as_many_times_the_expert_as_there_are_copies(factors):
    expert = factors(0)
    close(merged("peft_linear", dict.fromkeys("abc", expert)), 3 * expert.delta())


def test_the_released_script_divides_by_the_length_of_the_models_name(factors):
    experts = experts_of(factors, 0)
    total = sum(one.delta() for one in experts.values())
    close(merged("released", experts, dict.fromkeys(experts, 1 / 3)), total / 20)
    with pytest.raises(ConfigError, match="weighs all experts alike"):
        merged("released", experts, {"a": 1.0, "b": 2.0, "c": 1.0})


@pytest.mark.parametrize("method", ["delta_mean", "concat", "svd"])
def test_the_mean_is_the_dense_sum_to_a_millionth(factors, method):
    experts = {"a": factors(1), "b": factors(2, rank=3, scale=2.0), "c": factors(3, rank=1)}
    weights = {"a": 0.2, "b": 0.3, "c": 0.5}
    close(merged(method, experts, weights), sum(weights[s] * experts[s].delta() for s in experts))


def test_the_mean_of_factors_is_the_product_of_their_means(factors):
    experts = {"a": factors(1, scale=4.0), "b": factors(2)}
    b = (2 * experts["a"].lora_b + experts["b"].lora_b) / 2
    a = (2 * experts["a"].lora_a + experts["b"].lora_a) / 2
    close(merged("factor_mean", experts), (b @ a).double())


def test_means_of_factors_need_equal_ranks(factors):
    experts = {"a": factors(1), "b": factors(2, rank=3)}
    for method in FACTOR_SPACE:
        with pytest.raises(AdapterMismatchError, match="equal ranks alone, got a 2, b 3"):
            merged(method, experts)


def test_pruning_keeps_the_largest_entries():
    delta = torch.tensor([[3.0, -1.0], [0.5, -2.0]])
    assert prune(delta, 0.5).tolist() == [[3, 0], [0, -2]]
    assert prune(delta, 0.01).tolist() == [[3, 0], [0, 0]]
    assert torch.equal(prune(delta, 1.0), delta)


def test_ties_by_hand():
    # signs of the sums: + − +; a and b agree on the first, b alone on the second, a on the third
    a, b = torch.tensor([[4.0, 1.0, 2.0]]), torch.tensor([[2.0, -3.0, 0.0]])
    assert elected_mean([a, b], [0.5, 0.5]).tolist() == [[3, -3, 2]]
    assert elected_mean([a, b], [1.5, 0.5]).tolist() == [[7, 0, 4]]  # twice (12+2)/4 and 2; a tie


def test_dare_is_right_on_average_and_draws_by_name(factors):
    experts = {"a": factors(1), "b": factors(2)}
    mean = merged("delta_mean", experts)
    drawn = torch.stack([merged("dare", experts, seed=seed) for seed in range(400)])
    close(drawn.mean(0), mean, 0.1)
    assert (drawn[0] - drawn[1]).norm() > 0.1
    alike = {"a": factors(1), "b": factors(1)}
    parameters = {"dare": {"density": 0.5}}
    both = merged("dare", alike, {"a": 0.5, "b": 0.5}, parameters)
    assert (both - merged("dare", alike, {"a": 1.0, "b": 0.0}, parameters)).norm() > 0.1


def test_knots_without_pruning_is_ties_in_the_shared_basis(factors):
    experts = experts_of(factors, 1)
    wide = torch.cat([one.delta() for one in experts.values()], dim=1)
    u, s, vt = torch.linalg.svd(wide, full_matrices=False)
    used = int((s > 1e-9 * s[0]).sum())
    parts = torch.split(vt[:used], 20, dim=1)
    wanted = (u[:, :used] * s[:used]) @ elected_mean(parts, [1 / 3] * 3)
    close(merged("knots", experts, parameters=EVERYTHING), wanted)


def test_tsv_of_experts_that_share_no_direction_is_their_sum():
    # orthogonal inputs and outputs: nothing to make orthogonal, so N · mean
    a = LoraFactors(torch.eye(2, 8), torch.eye(8, 2))
    b = LoraFactors(torch.eye(8)[2:4], torch.eye(8)[:, 2:4])
    close(merged("tsv", {"a": a, "b": b}), a.delta() + b.delta())


def test_tsv_keeps_its_share_of_the_singular_vectors(factors):
    experts = {name: factors(seed, out=8, inside=8, rank=6) for seed, name in enumerate("ab")}
    assert torch.linalg.matrix_rank(merged("tsv", experts)) == 8  # 2 · (8 // 2), not 2 · 6


def test_iso_core_levels_the_singular_values_that_are_there(factors):
    experts = experts_of(factors, 0, number=2)
    s = torch.linalg.svdvals(merged("delta_mean", experts))
    level = torch.linalg.svdvals(merged("iso_core", experts))
    torch.testing.assert_close(level[:6], torch.full((6,), float(s[:6].mean())).double())
    assert float(level[6:].abs().max()) < 1e-9


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("inner", ["delta_mean", "concat", "tsv", "iso_core"])
def test_the_core_images_lose_nothing(factors, inner, shape):
    """What does not depend on the basis is the same in core space, as only lossless images give."""
    experts = experts_of(factors, 1, shape, number=2)
    parameters = {"core_space": {"inner": {"method": inner}}}
    found = merged("core_space", experts, parameters=parameters)
    if inner != "tsv":  # which keeps a share of the smaller side
        close(found, merged(inner, experts))
    assert float(found.norm()) > 0


@pytest.mark.parametrize(
    ("method", "parameters", "problem"),
    [
        ("tise", {}, "unknown merge method 'tise' .did you mean 'ties'"),
        ("ties", {}, "of ties: expected density, got none"),
        ("ties", {"densty": 1}, "of ties: expected density, got densty"),
        ("delta_mean", {"density": 0.5}, "of delta_mean: expected none, got density"),
        ("ties", {"density": 0}, "density: must be above 0"),
        ("dare", {"density": "half"}, "density: must be above 0"),
        ("dare", {"density": 0.5, "seed": 1}, "expected density, got density, seed"),
        ("core_space", {"inner": "ties"}, "inner: expected another method"),
        ("core_space", {"inner": {"method": "core_space"}}, "inner: expected another method"),
        ("core_space", {"inner": {"method": "ties"}}, "of ties: expected density"),
        ("released", {"model_id": ""}, "model_id: expected a model's name"),
    ],
)
def test_wrong_methods_and_parameters_are_one_line(method, parameters, problem):
    with pytest.raises(ConfigError, match=problem):
        check_method(method, parameters)


def test_every_method_says_what_it_computes():
    for method in METHODS:
        check_method(method, PARAMETERS.get(method, {}))
        assert "ΔW = " in formula(method)


def of_peft(experts):
    """The experts as adapters of one peft layer; merges them by one of peft's combination types."""
    from peft import LoraConfig
    from peft.tuners.lora import LoraModel

    first = next(iter(experts.values()))
    out, inside = first.shape
    module = torch.nn.Sequential(torch.nn.Linear(inside, out, bias=False))
    config = LoraConfig(r=2, lora_alpha=2 * first.scale, target_modules=["0"])
    model = LoraModel(module, {"a": config}, "a")
    model.peft_config["b"] = config
    model.inject_adapter(module, "b")
    layer = module[0]
    for name, one in experts.items():
        layer.lora_A[name].weight.data, layer.lora_B[name].weight.data = one.lora_a, one.lora_b

    def merge(kind):
        more = {"svd_rank": 4} if kind.endswith("svd") else {}
        more |= {} if kind in ("cat", "svd", "linear") else {"density": 0.5}
        model.add_weighted_adapter(["a", "b"], [0.5, 0.5], kind, combination_type=kind, **more)
        return layer.get_delta_weight(kind).detach().double()

    return merge


@pytest.mark.parametrize(("kind", "method"), [("cat", "concat"), ("svd", "svd"),
                                              ("linear", "peft_linear")])  # fmt: skip
def test_what_pefts_own_merges_really_are(factors, kind, method):
    experts = {name: factors(seed, scale=2.0) for seed, name in enumerate("ab")}
    close(of_peft(experts)(kind), merged(method, experts), 1e-5)
    distance = (merged(method, experts) - merged("delta_mean", experts)).norm()
    assert (distance > 0.5) == (kind == "linear")


@pytest.mark.parametrize("kind", ["cat", "svd", "linear", "ties", "magnitude_prune", "ties_svd",
                                  "magnitude_prune_svd"])  # fmt: skip
def test_which_of_pefts_merges_depend_on_the_split_into_factors(factors, kind):
    """The same update written as (−B)(−A): what works on factors gives another merge."""
    experts = {name: factors(seed) for seed, name in enumerate("ab")}
    a = experts["a"]
    flipped = {**experts, "a": replace(a, lora_a=-a.lora_a, lora_b=-a.lora_b)}
    apart = float((of_peft(experts)(kind) - of_peft(flipped)(kind)).norm())
    assert (apart > 0.1) == (kind in ("linear", "ties", "magnitude_prune")), apart
