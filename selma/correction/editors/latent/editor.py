"""The latent editor: a picture of any size in, the edited one out."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from selma.adapters.files import read_adapter
from selma.core.errors import BackendError, ConfigError
from selma.core.seeds import derive_seed
from selma.correction.canvas import Fit, fit_to_canvas, to_rgb
from selma.correction.editors.latent.attributes import first_redrawn
from selma.correction.editors.latent.editing import edit
from selma.correction.editors.latent.layers import find_layers
from selma.correction.editors.latent.levels import make_levels
from selma.correction.editors.latent.refining import Refiner
from selma.correction.editors.latent.settings import LatentSettings
from selma.correction.editors.latent.studio import Studio
from selma.correction.layout import Layout, Named
from selma.correction.loop import Job
from selma.correction.plan import Change, Plan
from selma.correction.segmenters.protocol import Segmenter
from selma.diffusion.gated import GatedStableDiffusion
from selma.diffusion.loading import add_updates, load_backbone

if TYPE_CHECKING:
    from PIL.Image import Image


class LatentEditor:
    """Carries out a plan in latent space; SLD, arXiv 2311.16090, section 3.3.

    Departs from the published code:

    1. A picture of any shape is laid on the canvas that the model draws, and cut out again.
    2. An attribute is changed by the gated model itself; see `change_attribute`.
    3. Every random number comes from the job's seed and the name of what it is for.
    4. A small loss ends guidance for its step alone, and guidance knows the boxes; see
       `guidance`.
    5. Articles are "a" or "an"; a phrase's tokens are found by its place in the prompt; what a
       long prompt loses is left out of the guidance; and no more than 30 objects are told of.
    6. The refiner is seeded, gets the final prompt, and its picture is brought to the old size.
    """

    def __init__(
        self, settings: LatentSettings, segmenter: Segmenter, backbone: GatedStableDiffusion,
        refiner: Refiner | None,
    ) -> None:  # fmt: skip
        """Take the models, and check that they can do what the settings ask for.

        Raises:
            BackendError: see `make_levels`.
            ConfigError: see `find_layers`; or a changed object would be lost, see `_check_shares`.
        """
        _check_shares(settings)
        self._refiner = refiner
        self._studio = Studio(
            backbone,
            make_levels(backbone.noise_scheduler.config, settings.inference_steps),
            segmenter,
            settings,
            find_layers(backbone.denoiser, settings.attention.layers),
            seed=0,
        )

    @property
    def backbone(self) -> GatedStableDiffusion:
        """The model that draws."""
        return self._studio.backbone

    def edit(self, picture: "Image", job: Job) -> "Image":
        """Carry out a plan; RGB, of the picture's size. Nothing to do is nothing done."""
        own = to_rgb(picture)
        if job.plan.is_empty:
            return own
        studio = replace(self._studio, seed=job.seed)
        height, width = studio.backbone.picture_size
        canvas, fit = fit_to_canvas(own, (width, height))
        edited, prompt = edit(canvas, _on_canvas(job, fit), studio)
        if self._refiner is not None:
            seed = derive_seed(job.seed, "latent", "refiner")
            edited = self._refiner.refine(edited, prompt, seed)
        return fit.back(edited)


def load_latent_editor(
    settings: LatentSettings, segmenter: Segmenter, *, device: str
) -> LatentEditor:
    """Load the editor's models; errors as `load_backbone`, `Refiner` and `LatentEditor`.

    Raises:
        AdapterMismatchError: the adapter belongs to another model.
        BackendError: the model has no gated layers.
    """
    backbone = load_backbone(settings.path, settings.dtype, device)
    if not isinstance(backbone, GatedStableDiffusion):
        raise BackendError(
            f"{settings.path}: the latent editor needs a model with GLIGEN's gated layers "
            "(StableDiffusionGLIGENPipeline in model_index.json); for others there is `inpaint`"
        )
    if settings.adapter is not None:
        layers = read_adapter(Path(settings.adapter)).items()
        updates = ((name, one.delta().view(one.weight_shape)) for name, one in layers)
        add_updates(backbone.components, updates, settings.adapter)
    refiner = None if settings.refiner is None else Refiner(settings.refiner, device)
    return LatentEditor(settings, segmenter, backbone, refiner)


def _check_shares(settings: LatentSettings) -> None:
    """Refuse shares by which the last level that is held comes before an object is redrawn."""
    steps = settings.inference_steps
    first, held = first_redrawn(settings), int(steps * settings.frozen_share)
    if first > held:
        raise ConfigError(
            f"attribute_strength {settings.attribute_strength} redraws from step {first} of "
            f"{steps} on, but frozen_share {settings.frozen_share} holds the first {held} alone: "
            "nothing of it would stay; raise one of them"
        )


def _on_canvas(job: Job, fit: Fit) -> Job:
    """Give all boxes in fractions of the canvas."""

    def one(named: Named) -> Named:
        return replace(named, box=fit.onto_canvas(named.box))

    def all_of(layout: Layout) -> Layout:
        return tuple(map(one, layout))

    def both(changes: tuple[Change, ...]) -> tuple[Change, ...]:
        return tuple(Change(one(change.current), one(change.goal)) for change in changes)

    plan = job.plan
    placed = Plan(
        both(plan.preserve), all_of(plan.remove), all_of(plan.add), both(plan.move),
        both(plan.attribute),
    )  # fmt: skip
    return replace(job, current=all_of(job.current), goal=all_of(job.goal), plan=placed)
