"""A detector's thresholds for pictures of a named generator, as SLD's demo has them."""

from selma.correction.detections import Thresholds

# For OWLv2's scores. SLD, arXiv 2311.16090, demo_config.ini.
GENERATORS = {
    "dalle": Thresholds(0.6, 0.2, 0.5),
    "lmdplus": Thresholds(0.6, 0.2, 0.3),
    "sdxl": Thresholds(0.5, 0.2, 0.5),
}


def thresholds_for(generator: str | None, detector: str, own: Thresholds) -> Thresholds:
    """Choose by generator; `own` for others, and for detectors with another scale of scores."""
    if detector != "owlv2" or generator is None:
        return own
    return GENERATORS.get(generator, own)
