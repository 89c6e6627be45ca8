"""Tiny gated models, and what the latent editor is told in tests."""

import numpy as np

from selma.correction.editors.latent.settings import AttentionGuidance, LatentSettings
from selma.correction.segmenters.protocol import Candidates

ATTENTION = AttentionGuidance(
    weight=5.0, stop_below=0.0, iterations=(1, 1), foreground_share=0.2, background_share=0.2,
    background_weight=4.0, transfer_weight=2.0, layers=None,
)  # fmt: skip


def latent_settings(path, **changes):
    given = {
        "path": str(path), "dtype": "float32", "adapter": None, "inference_steps": 3,
        "inversion_prompt": "a picture", "inversion_guidance": 2.5, "object_guidance": 7.5,
        "final_guidance": 2.5, "gligen_share": 0.5, "frozen_share": 0.5, "foreground_blend": 0.1,
        "dilation_px": 3, "alignment": "centre", "keep_preserved": True,
        "negative_prompt": "blurry", "object_negative_prompt": "blurry, two",
        "attribute_guidance": 7.5, "attribute_strength": 0.8, "attribute_blend": 0.0,
        "attention": ATTENTION, "refiner": None,
    }  # fmt: skip
    return LatentSettings(**{**given, **changes})


class WholeBox:
    """A segmenter for which a box is all its object's."""

    def segment(self, picture, boxes):
        found = []
        for box in boxes:
            mask = np.zeros((1, picture.height, picture.width), dtype=bool)
            rows = slice(int(box.y * picture.height), round(box.bottom * picture.height))
            mask[0, rows, int(box.x * picture.width) : round(box.right * picture.width)] = True
            found.append(Candidates(mask, np.ones(1)))
        return found
