"""Makes the pocket world's detector: draws its pictures, trains it, measures it."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from selma.correction.detections import Thresholds
from selma.correction.detectors.owlv2 import Owlv2
from selma.foundation.detector_model import build_detector, build_image_processor
from selma.foundation.detector_pictures import build_detector_set, kept_detector_set
from selma.foundation.detector_scores import measure, rendered_scenes
from selma.foundation.detector_training import detector_lesson
from selma.foundation.params import DetectorParams
from selma.foundation.scorers import Accuracy
from selma.foundation.training import fit, round_to_float16
from selma.runtime.progress import progress
from selma.training.loop import one_cycle

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from transformers import CLIPTokenizer, Owlv2ForObjectDetection

logger = logging.getLogger(__name__)
PICTURES_AT_A_TIME = 64


def make_detector(
    tokenizer: "CLIPTokenizer",
    autoencoder: "AutoencoderKL",
    plan: DetectorParams,
    *,
    seed: int,
    work: Path,
) -> tuple["Owlv2ForObjectDetection", dict[str, dict[str, Accuracy]], list[float]]:
    """Train a detector; `work` keeps the progress of a stopped run.

    Returns it as its files will hold it, its precision and recall by kind of label, and one loss
    per step.
    """
    model = build_detector(tokenizer, seed)
    with progress(plan.pictures, "detector pictures") as advance:
        drawn = kept_detector_set(
            work / "pictures.npz",
            lambda: build_detector_set(autoencoder, plan.pictures, seed, advance),
        )
    loss_at, parameters = detector_lesson(model, tokenizer, drawn, plan.batch_size, seed)
    state = fit(
        "detector", work / "state.safetensors", plan.train_steps, plan.checkpoint_every_steps,
        parameters=parameters, loss_at=loss_at,
        learning_rate_at=one_cycle(plan.learning_rate, plan.train_steps),
    )  # fmt: skip
    round_to_float16(dict(model.named_parameters()))
    detector = Owlv2(model.eval(), tokenizer, build_image_processor(), PICTURES_AT_A_TIME)
    thresholds = Thresholds(plan.attribute_threshold, plan.primitive_threshold, plan.nms_iou)
    rates = measure(detector, rendered_scenes(plan.held_out_pictures, seed), thresholds)
    for kind, both in rates.items():
        precision, recall = both["precision"].accuracy, both["recall"].accuracy
        logger.info("detector, %s labels: precision %.3f, recall %.3f", kind, precision, recall)
    return model, rates, state.curve()
