"""Which public benchmarks can be imported, and how altered copies of their files are recognised."""

import hashlib
from typing import Any

from selma.benchmarks.dsg1k import import_dsg1k
from selma.benchmarks.prompt_sets import (
    import_compbench,
    import_geneval,
    import_geneval2,
    import_hps,
    import_partiprompts,
)
from selma.benchmarks.reading import Imported, Importer
from selma.benchmarks.tifa import import_tifa

IMPORTERS: dict[str, Importer] = {
    "dsg1k": import_dsg1k,
    "geneval": import_geneval,
    "geneval2": import_geneval2,
    "hps": import_hps,
    "partiprompts": import_partiprompts,
    "t2i-compbench": import_compbench,
    "tifa": import_tifa,
}
GIT_IDS = {
    "3d_spatial_val.txt": "c799d256a56a68cea3fbc423d79c444c3819cf7a",
    "color_val.txt": "700badf7bd0989c45eb307ff3573f127ecee0a53",
    "complex_val.txt": "3667f7838c8ae5965ed4bd5bd8c32bff0604344a",
    "dsg-1k-anns.csv": "b1b097f09ec4b36546b7266492b386a742ec5790",
    "evaluation_metadata.jsonl": "efc21c7e639cd45554a1e44fac87157211f16d51",
    "geneval2_data.jsonl": "823f48414446157fe252f92e3c60c803c33c303c",
    "non_spatial_val.txt": "046d5689c35fb1270fdce8aa003c068e4a360726",
    "numeracy_val.txt": "f9246e9ceb6f58c578534f967108372823762fde",
    "shape_val.txt": "b82835d72b25c2aa2962736f091fe04ee6a39a21",
    "spatial_val.txt": "e453b999d311ddc47f303d389db02818b63a256c",
    "texture_val.txt": "61d35c8e7127e530f221780fd117c905315ce00a",
    "tifa_v1.0_question_answers.json": "6a563f9c157e5b2a24b9f4936edd3934a8a70add",
    "tifa_v1.0_text_inputs.json": "ac00985c8f552a3e51b3ef84ac7bfd0e59e41500",
}  # of the public files, as far as they are known


def describe(name: str, imported: Imported, *, partial: bool) -> dict[str, Any]:
    """Say in JSON's types what a benchmark table holds and was made of, for the table's metadata.

    "git_ids" has the `git hash-object` of each file, "altered" the names of those that are known by
    `GIT_IDS` to differ from the public file, be it in line ends alone.
    """
    git_ids = {path.name: git_id(path.read_bytes()) for path in sorted(imported.files)}
    return {
        "altered": [name for name, found in git_ids.items() if GIT_IDS.get(name, found) != found],
        "benchmark": name,
        "git_ids": git_ids,
        "n_items": len(imported.rows),
        "n_published_items": imported.published_items,
        "n_questions": sum(len(row["questions"]) for row in imported.rows),
        "partial": partial,
    }


def git_id(data: bytes) -> str:
    """Compute the id git has for a file of these bytes, as `git hash-object` prints it."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
