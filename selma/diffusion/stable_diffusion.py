"""Stable Diffusion 1, 2 and XL: a U-Net that reads the states of CLIP text encoders."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from selma.core.errors import BackendError
from selma.diffusion.backbone import Backbone, Conditions
from selma.diffusion.noising import Diffusion
from selma.diffusion.parts import Parts

if TYPE_CHECKING:
    import torch

# Schedulers that add no noise of their own at eta 0: the seed alone decides the picture.
NOISE_SCHEDULERS = (
    "DDIMScheduler", "DPMSolverMultistepScheduler", "EulerDiscreteScheduler", "PNDMScheduler",
    "UniPCMultistepScheduler",
)  # fmt: skip
# What `StableDiffusionPipeline` insists on, whatever the scheduler's file says.
INSISTED = {"steps_offset": 1, "clip_sample": False}
GATED_LAYERS = ("fuser.", "position_net.")  # parts of the names of GLIGEN's weights


class StableDiffusion(Backbone):
    """Stable Diffusion 1 and 2, with 512 or 768 pixels, epsilon or velocity: the files say."""

    component = "unet"
    # SELMA, arXiv 2403.06952, section 3.3: the attention projections of the U-Net.
    targets = ("to_q", "to_k", "to_v", "to_out.0")
    text_projections = ("attn2.to_k", "attn2.to_v")
    weighted: ClassVar[tuple[str, ...]] = ("unet", "vae", "text_encoder")
    noise_schedulers = NOISE_SCHEDULERS

    @classmethod
    def load(cls, parts: Parts) -> "StableDiffusion":
        """Load all parts; errors as `load_backbone`."""
        unet = cls.load_denoiser(parts)
        if unet.config.addition_embed_type or unet.config.time_cond_proj_dim:
            raise BackendError(
                f"{parts.path}: its U-Net wants other conditions than the text, which its "
                "model_index.json does not say; Stable Diffusion 1 and 2 can be used"
            )
        scheduler = parts.scheduler(cls.noise_schedulers, INSISTED)
        return cls(
            denoiser=unet,
            vae=parts.vae(),
            encoders=[parts.text_encoder("", "CLIPTextModel")],
            noise_scheduler=scheduler,
            noising=Diffusion(scheduler.alphas_cumprod, scheduler.config.prediction_type),
            device=parts.device,
        )

    @classmethod
    def load_denoiser(cls, parts: Parts) -> Any:
        """Load the U-Net; errors as `load_unet`."""
        return load_unet(parts)

    def encode_different(self, prompts: Sequence[str]) -> Conditions:
        """Encode to `text` (N, tokens, width), the encoder's last states."""
        (encoder,) = self.encoders
        tokens = encoder.tokens(prompts)
        masked = getattr(encoder.model.config, "use_attention_mask", False)
        mask = tokens.attention_mask if masked else None
        return {"text": encoder.model(tokens.input_ids, attention_mask=mask)[0]}

    def predict(
        self, noisy: "torch.Tensor", timesteps: "torch.Tensor", conditions: Conditions
    ) -> "torch.Tensor":
        """Predict what `noising` asks for."""
        prediction: torch.Tensor = self.denoiser(
            noisy, timesteps, encoder_hidden_states=conditions["text"],
            added_cond_kwargs=self._added(conditions),
            cross_attention_kwargs=self._attention(conditions), return_dict=False,
        )[0]  # fmt: skip
        return prediction

    def _added(self, conditions: Conditions) -> Conditions | None:
        return None

    def _attention(self, conditions: Conditions) -> dict[str, Any] | None:
        return None


class StableDiffusionXL(StableDiffusion):
    """Stable Diffusion XL; arXiv 2307.01952. Its float16 VAE overflows, so it stays float32."""

    weighted = ("unet", "vae", "text_encoder", "text_encoder_2")

    def __init__(self, *, silent_is_zero: bool, **parts: Any) -> None:
        """Put the parts together; `silent_is_zero`: without a prompt, its states are zeros."""
        super().__init__(**parts)
        self.silent_is_zero = silent_is_zero

    @classmethod
    def load(cls, parts: Parts) -> "StableDiffusionXL":
        """Load all parts; errors as `load_backbone`."""
        unet = load_unet(parts)
        if unet.config.addition_embed_type != "text_time" or unet.config.time_cond_proj_dim:
            raise BackendError(
                f"{parts.path}: its U-Net does not take SDXL's text and sizes (addition_embed_type "
                f"{unet.config.addition_embed_type!r}); Stable Diffusion XL base can be used"
            )
        scheduler = parts.scheduler(cls.noise_schedulers, {})
        return cls(
            denoiser=unet,
            vae=parts.vae(float16_overflows=True),
            encoders=[
                parts.text_encoder("", "CLIPTextModel"),
                parts.text_encoder("_2", "CLIPTextModelWithProjection"),
            ],
            noise_scheduler=scheduler,
            noising=Diffusion(scheduler.alphas_cumprod, scheduler.config.prediction_type),
            device=parts.device,
            silent_is_zero=bool(parts.index().get("force_zeros_for_empty_prompt", True)),
        )

    def encode_different(self, prompts: Sequence[str]) -> Conditions:
        """Encode to `text`, both encoders' last but one states, `pooled` and `sizes`.

        `text` is (N, tokens, width₁ + width₂), `pooled` the second's projection (N, width), `sizes`
        (N, 6) the height and width of original, upper left corner of crop, and target, in pixels:
        an uncropped picture, as the stock pipeline asks for.
        """
        import torch

        states = []
        for encoder in self.encoders:
            read = encoder.model(encoder.tokens(prompts).input_ids, output_hidden_states=True)
            states.append(read.hidden_states[-2])
        pooled = read[0]
        height, width = self.picture_size
        sizes = torch.tensor([[height, width, 0, 0, height, width]], dtype=pooled.dtype)
        return {
            "text": torch.cat(states, dim=-1),
            "pooled": pooled,
            "sizes": sizes.repeat(len(prompts), 1).to(self.device),
        }

    def unconditional(self, number: int) -> Conditions:
        """Say nothing: zeros or the states of the empty prompt, as the model's index says."""
        conditions = super().unconditional(number)
        if self.silent_is_zero:
            for name in ("text", "pooled"):
                conditions[name] = conditions[name].zero_()
        return conditions

    def _added(self, conditions: Conditions) -> Conditions | None:
        return {"text_embeds": conditions["pooled"], "time_ids": conditions["sizes"]}


def load_unet(parts: Parts, *, every_weight: bool = False, **config: Any) -> Any:
    """Load a U-Net, laid out for fast convolutions.

    Args:
        parts: of the model.
        every_weight: refuse a file that holds weights for which the U-Net has no place.
        config: what its config shall say, whatever the file does.

    Raises:
        BackendError: weights would be dropped, of a gated model always.
        RecordError: the U-Net is missing, damaged or incomplete.
    """
    import torch
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    unet, unused = parts.weights_and_rest("unet", UNet2DConditionModel, **config)
    gated = [name for name in unused if any(part in name for part in GATED_LAYERS)]
    if gated:
        raise BackendError(
            f"{parts.path}/unet: holds {len(gated)} weights of GLIGEN's gated layers, e.g. "
            f"{gated[0]}, which a plain Stable Diffusion drops; let _class_name in "
            "model_index.json be StableDiffusionGLIGENPipeline"
        )
    if every_weight and unused:
        raise BackendError(
            f"{parts.path}/unet: {len(unused)} of its weights have no place in the U-Net that its "
            f"config describes, e.g. {unused[0]}"
        )
    return unet.to(memory_format=torch.channels_last)
