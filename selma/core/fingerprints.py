"""Names a folder of weights by its content, so that a moved or renamed model stays the same one."""

import hashlib
from pathlib import Path

WEIGHTS = ("*.safetensors", "*.bin", "*.pt")


def weights_revision(directory: Path) -> str:
    """Compute "sha256:…" of a folder's weight file, as `sha256sum` prints it.

    Of several files it is the SHA-256 of their digests, in the order of their names.
    """
    digests = []
    for path in sorted(path for pattern in WEIGHTS for path in directory.glob(pattern)):
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256"))
    if len(digests) == 1:
        return f"sha256:{digests[0].hexdigest()}"
    return f"sha256:{hashlib.sha256(b''.join(one.digest() for one in digests)).hexdigest()}"
