"""Brings one revision of a Hub repository into a folder, whole and checked by its hashes."""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from selma.core.errors import BackendError, ConfigError, RecordError, one_line

TOKEN = "HF_TOKEN"
_CHUNK = 2**20


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository; its name there, bytes, and the hash that the Hub promises.

    The hash is the SHA-256 of a large file, and of a small one git's SHA-1, of its size and bytes.
    """

    name: str
    size: int
    sha256: str | None
    git_sha1: str


def newest_revision(repository: str) -> str:
    """Ask the Hub for the commit that a repository's main branch is at, 40 hex digits.

    BackendError if the Hub cannot be asked, or has no such repository for this token.
    """
    from huggingface_hub import HfApi

    with _explained(repository, "main"):
        return str(HfApi().model_info(repository).sha)


def list_files(repository: str, revision: str, patterns: Sequence[str]) -> list[RemoteFile]:
    """List the files of a revision that fit any of the patterns, e.g. ``unet/*.safetensors``.

    BackendError as `newest_revision`; ConfigError, with what there is, if a pattern fits none.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils._paths import filter_repo_objects

    with _explained(repository, revision):
        info = HfApi().model_info(repository, revision=revision, files_metadata=True)
    found = {one.rfilename: one for one in info.siblings or []}
    for name in found:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise RecordError(f"{repository}: a file's name leads out of its folder: {name!r}")
    for pattern in patterns:
        if not list(filter_repo_objects(found, allow_patterns=[pattern])):
            shown = ", ".join(sorted(found)[:20])
            raise ConfigError(
                f"files: {repository} at {revision[:10]} has none that fits {pattern!r}; "
                f"it has: {shown}{' …' if len(found) > 20 else ''}"
            )
    chosen = sorted(filter_repo_objects(found, allow_patterns=list(patterns)))
    return [
        RemoteFile(f.rfilename, f.size or 0, f.lfs.sha256 if f.lfs else None, f.blob_id or "")
        for f in map(found.__getitem__, chosen)
    ]


def bring(
    repository: str, revision: str, files: Sequence[RemoteFile], work: Path, target: Path,
    advance: Callable[[int], None],
) -> None:  # fmt: skip
    """Download a revision's files into a folder, which appears whole or not at all.

    What a broken-off download left in `work` is taken up, within a file too. Token and mirror come
    from the environment (HF_TOKEN, HF_ENDPOINT).

    Args:
        repository: "owner/name".
        revision: a commit, 40 hex digits.
        files: as `list_files` gives them.
        work: a folder of this download alone; it is gone at the end.
        target: the folder to make, also on another disk; one that is there is replaced.
        advance: called with the number of bytes that have come, or were there.

    Raises:
        BackendError: the Hub cannot be reached, refuses, or breaks off; or the disk is too small.
        RecordError: a file does not have the hash that the Hub promises; it is thrown away.
    """
    work.mkdir(parents=True, exist_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    missing = sum(one.size - _size(_part(work, one)) for one in files)
    free = shutil.disk_usage(work).free
    if missing > free:
        raise BackendError(
            f"{repository}: {missing / 1e9:.1f} GB are still to come and {free / 1e9:.1f} GB are "
            f"free on the disk of {work}; make room and run the same command to go on"
        )
    for one in files:
        _fetch(repository, revision, one, _part(work, one), advance)
        if not _is_whole(_part(work, one), one):
            _part(work, one).unlink()
            raise RecordError(
                f"{repository}: {one.name} does not have the hash that the Hub promises; it was "
                "thrown away, run the same command to fetch it again"
            )
    for one in files:
        os.replace(_part(work, one), work / one.name)
    _put_in_place(work, target)


def _put_in_place(work: Path, target: Path) -> None:
    """Move a folder; to another disk it is copied beside its place, so that it appears whole."""
    ready = work
    if os.stat(work).st_dev != os.stat(target.parent).st_dev:
        ready = target.with_name(f".{target.name}.part")
        shutil.rmtree(ready, ignore_errors=True)  # of a run that was killed while it copied
        shutil.copytree(work, ready)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(ready, target)
    shutil.rmtree(work, ignore_errors=True)


def _part(work: Path, file: RemoteFile) -> Path:
    whole = work / file.name  # of a run that ended between the last two steps
    return whole if whole.is_file() else work / f"{file.name}.part"


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _fetch(
    repository: str, revision: str, file: RemoteFile, part: Path, advance: Callable[[int], None]
) -> None:
    """Fetch what is missing of a file."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils._headers import build_hf_headers

    part.parent.mkdir(parents=True, exist_ok=True)
    if (there := _size(part)) > file.size:
        part.unlink()
        there = 0
    advance(there)
    url = hf_hub_url(repository, file.name, revision=revision)
    with _explained(repository, revision), part.open("ab") as stream:
        http_get(
            url, _Counted(stream, advance),  # type: ignore[arg-type]
            resume_size=there, headers=build_hf_headers(), expected_size=file.size,
        )  # fmt: skip


class _Counted:
    """A file that tells how many bytes are written to it."""

    def __init__(self, stream: BinaryIO, advance: Callable[[int], None]) -> None:
        self._stream, self._advance = stream, advance
        self.seek, self.tell, self.truncate = stream.seek, stream.tell, stream.truncate

    def write(self, data: bytes) -> None:
        self._stream.write(data)
        self._advance(len(data))


def _is_whole(path: Path, wanted: RemoteFile) -> bool:
    if not path.is_file() or path.stat().st_size != wanted.size:
        return False
    digest = hashlib.sha256() if wanted.sha256 else hashlib.sha1(b"blob %d\0" % wanted.size)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest() == (wanted.sha256 or wanted.git_sha1)


@contextlib.contextmanager
def _explained(repository: str, revision: str) -> Iterator[None]:
    """Turn what the Hub's client raises into one line that says what to do."""
    from httpx2 import HTTPError
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise BackendError(
            f"{repository}: access is granted by its owners; ask for it on the repository's page, "
            f"then set {TOKEN} to your token"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise BackendError(
            f"{repository}: has no revision {revision!r}; `selma hub pin` asks for the newest"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise BackendError(
            f"{repository}: there is no such repository, or it is private: check the name, or set "
            f"{TOKEN} to a token that may read it"
        ) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        hint = f"set {TOKEN} to a valid token" if status in (401, 403) else "try again later"
        raise BackendError(f"{repository}: the Hub answers {status}; {hint}") from error
    except (HTTPError, errors.OfflineModeIsEnabled) as error:
        raise _broken_off(repository, error) from error
    except OSError as error:
        if error.errno is not None:  # a full disk says what to do itself
            raise
        raise _broken_off(repository, error) from error


def _broken_off(repository: str, error: BaseException) -> BackendError:
    return BackendError(
        f"{repository}: the Hub cannot be reached, or broke off ({one_line(error)}); run the same "
        "command to go on; HF_ENDPOINT names a mirror"
    )
