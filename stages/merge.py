"""Merges the experts into one adapter and certifies it against the dense sum."""

import argparse
import logging
from pathlib import Path

from selma.core.choices import choose
from selma.core.devices import set_threads
from selma.core.files import write_json
from selma.merging.certificate import certify
from selma.merging.files import read_adapter, read_adapters, read_provenance, write_adapter
from selma.merging.methods import MERGE_METHODS, absolute_weights, merge_adapters
from selma.runtime.params import PARAMS_PATH, MergeParams, load_section, load_value
from selma.runtime.session import run_stage

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    """Merge the expert files given; an expert's skill is its file's name."""
    parser = argparse.ArgumentParser(prog="python -m stages.merge", description=__doc__)
    parser.add_argument("--experts", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--metrics", type=Path, required=True)
    parser.add_argument("--params", type=Path, default=PARAMS_PATH)
    args = parser.parse_args(argv)

    params = load_section("merge", MergeParams, args.params)
    set_threads(load_value("threads", args.params))
    merge_layer = choose("merge method", params.method, MERGE_METHODS)
    weights = absolute_weights(params.weights, params.scale)
    experts = read_adapters(args.experts)
    merged = merge_adapters(experts, merge_layer, weights)
    origins = {path.stem: read_provenance(path) for path in sorted(args.experts)}
    write_adapter(args.out, merged, {"merge": params.model_dump(), "experts": origins})
    certificate = certify(read_adapter(args.out), experts, weights)
    write_json(args.metrics, certificate)
    logger.info(
        "merged %d experts by %s: rank %d, relative error %.1e",
        sum(weight > 0 for weight in params.weights.values()),
        params.method,
        certificate["rank"],
        certificate["relative_error"],
    )


if __name__ == "__main__":
    run_stage("merge", main)
