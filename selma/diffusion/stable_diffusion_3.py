"""Stable Diffusion 3: a transformer that learns a flow; arXiv 2403.03206."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from selma.core.errors import ConfigError
from selma.diffusion.backbone import Backbone, Conditions
from selma.diffusion.noising import Flow
from selma.diffusion.parts import Parts

if TYPE_CHECKING:
    import torch

T5_TOKENS = 256  # the stock pipeline's `max_sequence_length`


class StableDiffusion3(Backbone):
    """Stable Diffusion 3 and 3.5 without T5, whose states the stock pipeline then sets to zero."""

    component = "transformer"
    targets = ("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0")
    weighted = ("transformer", "vae", "text_encoder", "text_encoder_2")
    noise_schedulers = ("FlowMatchEulerDiscreteScheduler",)

    @classmethod
    def load(cls, parts: Parts) -> "StableDiffusion3":
        """Load all parts; errors as `load_backbone`."""
        from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel

        scheduler = parts.scheduler(cls.noise_schedulers, {})
        config = scheduler.config
        if config.use_dynamic_shifting:
            raise ConfigError(f"{parts.path}/scheduler: use_dynamic_shifting cannot be used")
        clip = "CLIPTextModelWithProjection"
        return cls(
            denoiser=parts.weights("transformer", SD3Transformer2DModel),
            vae=parts.vae(),
            encoders=[parts.text_encoder(number, clip) for number in ("", "_2")],
            noise_scheduler=scheduler,
            noising=Flow(config.num_train_timesteps, config.shift),
            device=parts.device,
        )

    def encode_different(self, prompts: Sequence[str]) -> Conditions:
        """Encode to `text` (N, tokens, width) and `pooled` (N, width₁ + width₂)."""
        import torch
        from torch.nn.functional import pad

        states, pooled = [], []
        for encoder in self.encoders:
            read = encoder.model(encoder.tokens(prompts).input_ids, output_hidden_states=True)
            states.append(read.hidden_states[-2])
            pooled.append(read[0])
        text = torch.cat(states, dim=-1)
        width = self.denoiser.config.joint_attention_dim
        text = pad(text, (0, width - text.shape[-1], 0, T5_TOKENS))
        return {"text": text, "pooled": torch.cat(pooled, dim=-1)}

    def predict(
        self, noisy: "torch.Tensor", timesteps: "torch.Tensor", conditions: Conditions
    ) -> "torch.Tensor":
        """Predict the flow's velocity."""
        prediction: torch.Tensor = self.denoiser(
            noisy, timestep=timesteps.expand(len(noisy)), encoder_hidden_states=conditions["text"],
            pooled_projections=conditions["pooled"], return_dict=False,
        )[0]  # fmt: skip
        return prediction
