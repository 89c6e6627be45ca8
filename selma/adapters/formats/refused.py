"""What else is stored beside LoRA factors, by name: each is refused, none is skipped."""

import re
from collections.abc import Mapping
from typing import Any

from selma.core.errors import AdapterMismatchError

ELSEWHERE = "merge or bake it with the tool that made it"
_ROWS = (  # what is in a key → what it is
    (r"dora_scale|lora_magnitude_vector", "DoRA, whose update depends on the base model's weights"),
    (r"\.hada_", "LoHa (Hadamard products)"),
    (r"\.lokr_", "LoKr (Kronecker products)"),
    (r"\.lora_mid\.", "a Tucker (CP) decomposition"),
    (r"\.(?:diff|diff_b|set_weight)$", "a full difference or weight, not of low rank"),
    (r"\.(?:w_norm|b_norm)$", "a change of a normalisation"),
    (r"oft_|boft_|\.oft\.|\.rescale$", "OFT (orthogonal fine-tuning)"),
    (r"ia3_|\.on_input$", "(IA)³"),
    (r"\.[ab][12]\.weight$", "GLoRA"),
    (r"vera_lambda", "VeRA"),
    (r"\.scalar$", "a LyCORIS scalar"),
    (r"lora_embedding_[AB]", "LoRA of an embedding"),
    (r"lora_(?:A|B|down|up)(?:\.\w+)?\.bias$|lora\.(?:down|up)\.bias$", "a bias of LoRA"),
    (r"bundle_emb|emb_params|string_to_param|learned_embeds", "an embedding (textual inversion)"),
    (r"^clip_[lg]$", "an embedding (textual inversion)"),
    (r"modules_to_save", "a module trained in full (modules_to_save)"),
    (r"custom_diffusion", "Custom Diffusion"),
    (r"lora_(?:unet|transformer)_(?:double|single)_", "a layer of Flux"),
    (r"reshape_weight", "a changed shape of a layer"),
)  # fmt: skip
_KINDS = [(re.compile(pattern), kind) for pattern, kind in _ROWS]
# of peft's LoraConfig: what changes no update, or is read
_NEUTRAL = {
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "corda_config",
    "ensure_weight_tying", "eva_config", "exclude_modules", "inference_mode", "init_lora_weights",
    "layers_pattern", "layers_to_transform", "loftq_config", "lora_alpha", "lora_dropout",
    "lora_ga_config", "megatron_config", "megatron_core", "peft_type", "peft_version",
    "qalora_group_size", "r", "rank_pattern", "revision", "runtime_config", "target_modules",
    "task_type", "use_rslora",
}  # fmt: skip
_OPTIONS = {
    "use_dora": "DoRA, whose update depends on the base model's weights",
    "lora_bias": "a bias of LoRA",
    "modules_to_save": "modules trained in full",
    "bias": "biases trained along",
}
_NEW_FACTORS = (True, False, None, "gaussian", "orthogonal", "eva")  # leave the base as it is


def kind_of(key: str) -> str | None:
    """Say what a tensor is that is no LoRA factor; None if it is not known."""
    return next((kind for pattern, kind in _KINDS if pattern.search(key)), None)


def check_options(options: Mapping[str, Any], where: str) -> None:
    """Check that peft's `LoraConfig` asks for nothing but ΔW = scale · B A.

    AdapterMismatchError names an option that is not understood; `where` begins its message.
    """
    kind = options.get("peft_type", "LORA")
    if str(kind).removeprefix("PeftType.") != "LORA":
        raise AdapterMismatchError(f"{where}: peft_type is {kind!r}, not LORA; {ELSEWHERE}")
    first = options.get("init_lora_weights")
    if not isinstance(first, bool | str | None) or first not in _NEW_FACTORS:
        raise AdapterMismatchError(
            f"{where}: init_lora_weights is {first!r}, which changes the base model too; "
            "convert it to plain LoRA with peft"
        )
    for name, value in sorted(options.items()):
        if name not in _NEUTRAL and value not in (None, False, "none", {}, []):
            what = _OPTIONS.get(name, "which is not understood")
            raise AdapterMismatchError(f"{where}: {name} is {value!r}: {what}; {ELSEWHERE}")
