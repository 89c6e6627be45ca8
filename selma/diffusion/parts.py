"""Loads the parts of a model in diffusers' layout, or says in one line which one is wrong."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.core.choices import choose_name
from selma.core.errors import ConfigError, RecordError, SelmaError, one_line
from selma.diffusion.backbone import TextEncoder

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Parts:
    """A model's folder, and where and how its weights are to be loaded.

    `dtype` is of the denoiser, `encoder_dtype` of the VAE and the text encoders. RecordError names
    a part that is missing, damaged or incomplete.
    """

    path: Path
    device: str
    dtype: "torch.dtype"
    encoder_dtype: "torch.dtype"

    def index(self) -> dict[str, Any]:
        """Read model_index.json."""
        try:
            index = json.loads((self.path / "model_index.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise self._damaged("model_index.json", one_line(error)) from error
        if not isinstance(index, dict):
            raise self._damaged("model_index.json", "it is no JSON object")
        return index

    def weights(self, part: str, model_class: Any, dtype: "torch.dtype | None" = None) -> Any:
        """Load a frozen model from its safetensors files; `dtype` None is the denoiser's."""
        return self.weights_and_rest(part, model_class, dtype)[0]

    def weights_and_rest(
        self, part: str, model_class: Any, dtype: "torch.dtype | None" = None, **config: Any
    ) -> tuple[Any, list[str]]:
        """Load a model as `weights`, and name what its files hold beyond it.

        `config` stands in place of what the model's own config says.
        """
        options = {
            "torch_dtype": dtype or self.dtype, "use_safetensors": True,
            "output_loading_info": True,
        }  # fmt: skip
        model, info = self._load(part, model_class.from_pretrained, **options, **config)
        if info["missing_keys"]:
            missing = sorted(info["missing_keys"])[:3]
            raise self._damaged(part, f"weights are missing: {missing}")
        frozen = model.requires_grad_(False).eval().to(self.device)
        return frozen, sorted(info["unexpected_keys"])

    def vae(self, *, float16_overflows: bool = False) -> Any:
        """Load the VAE, in float32 if its config says that float16 overflows and that matters."""
        import torch
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

        vae = self.weights("vae", AutoencoderKL, self.encoder_dtype)
        if float16_overflows and vae.dtype == torch.float16 and vae.config.force_upcast:
            vae = self.weights("vae", AutoencoderKL, torch.float32)
        return vae.to(memory_format=torch.channels_last)

    def text_encoder(self, number: str, model_class: str) -> TextEncoder:
        """Load a tokenizer and its CLIP text model; `number` is the end of their folders' names."""
        import transformers

        model = self.weights(
            f"text_encoder{number}", getattr(transformers, model_class), self.encoder_dtype
        )
        part = f"tokenizer{number}"
        tokenizer = self._load(part, transformers.CLIPTokenizer.from_pretrained)
        if len(tokenizer) != model.config.vocab_size:  # transformers makes up missing files
            size = model.config.vocab_size
            raise self._damaged(part, f"it has {len(tokenizer)} tokens, not {size}")
        return TextEncoder(tokenizer, model)

    def scheduler(self, names: Sequence[str], insisted: Mapping[str, Any]) -> Any:
        """Load the noise scheduler, one of `names`, with the settings insisted on where it has any.

        ConfigError if it is another, or draws noise of its own in each step.
        """

        def load(path: Path, **at: Any) -> Any:
            import diffusers

            config = diffusers.DDIMScheduler.load_config(path, **at)  # any scheduler's file
            name = choose_name("noise scheduler", str(config.get("_class_name")), names)
            scheduler_class = getattr(diffusers, name)
            scheduler = scheduler_class.from_config(config)
            changes = {key: value for key, value in insisted.items() if key in scheduler.config}
            return scheduler_class.from_config(scheduler.config, **changes)

        scheduler = self._load("scheduler", load)
        for setting, fixed in DETERMINISTIC.items():
            found = scheduler.config.get(setting)
            if found is not None and found not in fixed:
                raise ConfigError(
                    f"{self.path}/scheduler: {setting} {found!r} draws noise of its own in each "
                    f"step, so that the seed does not decide the picture; choose of {list(fixed)}"
                )
        return scheduler

    def _load(self, part: str, loader: Callable[..., Any], **options: Any) -> Any:
        try:
            return loader(self.path, subfolder=part, **options)
        except SelmaError:
            raise
        except Exception as error:
            raise self._damaged(part, one_line(error)) from error

    def _damaged(self, part: str, reason: str) -> RecordError:
        return RecordError(
            f"{self.path}/{part}: cannot be loaded ({reason}); "
            "fetch it anew, e.g. by `dvc pull --force`"
        )


# Settings of schedulers that decide whether a step is random, and the values with which it is not.
DETERMINISTIC = {
    "algorithm_type": ("dpmsolver", "dpmsolver++"),
    "stochastic_sampling": (False,),
}
