"""Models on the Hugging Face Hub: an id, the local cache, fetching, pushing.

Nothing goes over the network unasked: a model is looked up in the hub's local cache alone
(`HF_HOME`, else the platform's usual place), `fetch` downloads because somebody said so, and from
then on everything works offline. Only the three files of `soundspot.model_folder` are fetched,
never a pickle that lies beside them, and weights only once `config.json` has said that they are
ours. The client is the library huggingface_hub, an optional extra:

    pip install "soundspot[hub]"
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from soundspot.checkpoint_file import PICKLES
from soundspot.errors import CheckpointError, SoundspotError
from soundspot.files import one_line
from soundspot.model_folder import CARD_FILE, CONFIG_FILE, FILES, WEIGHTS_FILE, read_config

HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w.][\w./-]*))?", re.ASCII)
FILE_SUFFIXES = (".safetensors", *PICKLES)
"""A name that ends so is a file that is missing, not a repository."""
MAIN = "main"
REASON_LIMIT = 200
"""Characters of another library's message."""


class HubId(NamedTuple):
    """OWNER/NAME, or OWNER/NAME@REVISION: a branch, a tag or a whole commit hash."""

    repo: str
    revision: str = MAIN

    def __str__(self) -> str:
        """As people write it."""
        return self.repo if self.revision == MAIN else f"{self.repo}@{self.revision}"


def hub_id(name: str) -> HubId | None:
    """The id that a name is; None where it cannot be one."""
    found = HUB_ID.fullmatch(name)
    if found is None or ".." in name or name.lower().endswith(FILE_SUFFIXES):
        return None
    return HubId(found[1], found[2] or MAIN)


def cached(name: HubId) -> Path:
    """The folder of a model in the local cache; the network is not touched.

    Raises:
        CheckpointError: huggingface_hub is missing, or the model was never fetched.
    """
    with _client(name):
        from huggingface_hub import try_to_load_from_cache

        found = [try_to_load_from_cache(name.repo, f, revision=name.revision) for f in FILES[:2]]
    if not all(isinstance(path, str) for path in found):
        raise CheckpointError(
            f"{name}: no such file or folder, no embedded model, and not in the hub's local cache; "
            f"if it is on the hub, fetch it once: soundspot models --fetch {name}"
        )
    return Path(str(found[0])).parent


def fetch(name: HubId) -> Path:
    """Download a model, or what of it is not in the local cache yet; the folder in the cache.

    Raises:
        CheckpointError: no such repository, none of ours, or no network.
    """
    with _client(name):
        from huggingface_hub import HfApi, snapshot_download

        entries = HfApi().model_info(name.repo, revision=name.revision).siblings or []
        there = {entry.rfilename for entry in entries}
        if not {WEIGHTS_FILE, CONFIG_FILE} <= there:
            raise CheckpointError(
                f"{name}: no soundspot model ({WEIGHTS_FILE} with {CONFIG_FILE}); the repository "
                f"holds {', '.join(sorted(there)[:5]) or 'nothing'}"
            )
        for files in ([CONFIG_FILE, CARD_FILE], list(FILES)):
            folder = snapshot_download(name.repo, revision=name.revision, allow_patterns=files)
            read_config(Path(folder))
    return Path(folder)


def push(folder: Path, repo: str, private: bool | None) -> str:
    """Upload a model's folder; returns the address of the repository, which is made where missing.

    A card that is on the hub already is kept, for people edit cards there.

    Raises:
        CheckpointError: no such id, not logged in, not allowed, or no network.
    """
    name = hub_id(repo)
    if name is None or name.revision != MAIN:
        raise CheckpointError(f"{repo}: is no hub id; give OWNER/NAME")
    with _client(name):
        from huggingface_hub import HfApi

        api = HfApi()
        address = api.create_repo(repo, private=private, exist_ok=True)
        kept = [CARD_FILE] if api.file_exists(repo, CARD_FILE) else []
        api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            ignore_patterns=kept,
            commit_message="Model saved by soundspot",
        )
    return str(address)


def in_cache() -> dict[str, Path]:
    """The models of ours in the local cache, and their folders; none without huggingface_hub."""
    try:
        from huggingface_hub.constants import HF_HUB_CACHE
    except ImportError:
        return {}
    found: dict[str, Path] = {}
    for config in sorted(Path(HF_HUB_CACHE).glob(f"models--*/snapshots/*/{CONFIG_FILE}")):
        try:
            read_config(config.parent)
        except CheckpointError:
            continue
        if (config.parent / WEIGHTS_FILE).is_file():
            found[_id_of(config.parent)] = config.parent
    return found


def _id_of(snapshot: Path) -> str:
    """OWNER/NAME@REVISION of a folder in the cache: by a branch or tag, else by its commit."""
    home = snapshot.parent.parent
    refs = (ref for ref in sorted((home / "refs").rglob("*")) if ref.is_file())
    names = [ref.relative_to(home / "refs").as_posix()
             for ref in refs if ref.read_text().strip() == snapshot.name]  # fmt: skip
    revision = MAIN if MAIN in names else (names or [snapshot.name])[0]
    return str(HubId(home.name.removeprefix("models--").replace("--", "/", 1), revision))


@contextmanager
def _client(name: HubId) -> Iterator[None]:
    """Whatever goes wrong in huggingface_hub, in one line of ours."""
    try:
        from huggingface_hub import errors
    except ImportError:
        raise CheckpointError(
            f"{name}: no such file or folder, and models of the hub need huggingface_hub: "
            'pip install "soundspot[hub]"'
        ) from None
    try:
        yield
    except SoundspotError:
        raise
    except errors.GatedRepoError as error:
        raise CheckpointError(f"{name}: gated; ask for access on its page and log in") from error
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(f"{name}: the repository has no such revision") from error
    except errors.RepositoryNotFoundError as error:
        raise CheckpointError(
            f"{name}: no such repository on the hub, or a private one (then `hf auth login`)"
        ) from error
    except errors.HFValidationError as error:
        raise CheckpointError(f"{name}: is no hub id; one is written OWNER/NAME") from error
    except errors.OfflineModeIsEnabled as error:
        raise CheckpointError(f"{name}: HF_HUB_OFFLINE is set; unset it for this") from error
    except Exception as error:  # a client of the network may raise what its layers raise
        reason = one_line(error)[:REASON_LIMIT]
        raise CheckpointError(
            f"{name}: the hub cannot be used ({type(error).__name__}: {reason}); check the network "
            "and `hf auth login`"
        ) from error
