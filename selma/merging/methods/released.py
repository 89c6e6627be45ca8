"""What SELMA's released script computes, to reproduce its pictures."""

from selma.adapters.factors import LoraFactors
from selma.core.errors import ConfigError
from selma.merging.lowrank import weighted_sum
from selma.merging.methods.elementwise import Experts, Weights


def released(experts: Experts, weights: Weights, *, model_id: str) -> LoraFactors:
    """Merge so that ΔW = c · Σ ΔWₜ / len(model_id), c = Σ w, as SELMA's released script does.

    It divides by the length of the base model's name where the number of experts is meant: 1/30 for
    "stabilityai/stable-diffusion-2". Weights must be equal; to reproduce the paper's pictures.
    """
    if not isinstance(model_id, str) or not model_id:
        raise ConfigError(f"merge.parameters.model_id: expected a model's name, got {model_id!r}")
    if len(set(weights.values())) > 1:
        raise ConfigError("merge.weights: the released script weighs all experts alike")
    names = sorted(experts)
    share = sum(weights.values()) / len(model_id)
    return weighted_sum([experts[name] for name in names], [share] * len(names))
