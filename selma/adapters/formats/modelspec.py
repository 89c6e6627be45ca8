"""Metadata that other programs read: Stability's ModelSpec, and sd-scripts' own keys."""

import json
from collections.abc import Mapping
from typing import Any

from selma.adapters.factors import Adapter
from selma.adapters.formats.lora_config import usual_rank

SPEC = "1.0.1"
_SGM = "https://github.com/Stability-AI/generative-models"
_ARCHITECTURES = {"sd1": "stable-diffusion-v1", "sdxl": "stable-diffusion-xl-v1-base",
                  "sd3": "stable-diffusion-3"}  # fmt: skip
_ARCHITECTURES_OF_SD2 = {
    "epsilon": "stable-diffusion-v2-512", "v_prediction": "stable-diffusion-v2-768-v",
}  # fmt: skip
_RESOLUTIONS = {
    "stable-diffusion-v1": "512x512", "stable-diffusion-v2-512": "512x512",
    "stable-diffusion-v2-768-v": "768x768", "stable-diffusion-xl-v1-base": "1024x1024",
}  # fmt: skip
_PREDICTION_TYPES = {"epsilon": "epsilon", "v_prediction": "v"}
_VERSIONS = {"sd1": "sd_v1", "sd2": "sd_v2", "sdxl": "sdxl_base_v1-0"}


def modelspec(
    base: str | None, provenance: Mapping[str, Any], body_hash: str, *, sgm: bool = False
) -> dict[str, str]:
    """Describe an adapter by ModelSpec 1.0.1, as far as it is known; no date, no path.

    Its architecture, which the spec demands, is left out where the base is none of the published
    models, and of Stable Diffusion 2 where it is not known what the model predicts.
    """
    predicted = prediction_type(provenance)
    kind = (
        _ARCHITECTURES_OF_SD2.get(predicted or "")
        if base == "sd2"
        else _ARCHITECTURES.get(base or "")
    )
    experts = provenance.get("experts")
    merged_from = sorted(experts) if isinstance(experts, Mapping) else []
    name = provenance.get("name")
    title = str(name) if name else f"merge of {', '.join(merged_from)}" if merged_from else "LoRA"
    facts = {
        "sai_model_spec": SPEC,
        "architecture": kind and f"{kind}/lora",
        "implementation": _SGM if sgm and base == "sdxl" else "diffusers",
        "title": title,
        "resolution": _RESOLUTIONS.get(kind or ""),
        "merged_from": ", ".join(merged_from),
        "prediction_type": _PREDICTION_TYPES.get(predicted or ""),
        "hash_sha256": f"0x{body_hash}",
    }
    return {f"modelspec.{key}": value for key, value in facts.items() if value}


def prediction_type(provenance: Mapping[str, Any]) -> str | None:
    """Find what the base predicts: of an expert its own, of a merge its experts', if they agree."""
    experts = provenance.get("experts")
    if not isinstance(experts, Mapping):
        return _text(provenance.get("prediction_type"))
    made = [one for one in experts.values() if isinstance(one, Mapping)]
    found = {_text(one.get("prediction_type")) for one in made}
    return found.pop() if len(found) == 1 else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def sd_scripts_keys(
    adapter: Adapter, base: str | None, provenance: Mapping[str, Any], alpha: float
) -> dict[str, str]:
    """Describe an adapter as sd-scripts does; the dim is that of most linear layers."""
    linear = [one.rank for one in adapter.values() if one.kernel in (None, (1, 1))]
    conv = [one.rank for one in adapter.values() if one.kernel not in (None, (1, 1))]
    version = _VERSIONS.get(base or "")
    if base == "sd2" and prediction_type(provenance) == "v_prediction":
        version = "sd_v2_v"
    keys = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(usual_rank(linear or conv)),
        "ss_network_alpha": f"{alpha:g}",
    }
    if conv:
        keys["ss_network_args"] = json.dumps(
            {"conv_dim": str(usual_rank(conv)), "conv_alpha": f"{alpha:g}"}
        )
    if version:
        keys |= {"ss_base_model_version": version, "ss_v2": str(base == "sd2")}
    return keys
