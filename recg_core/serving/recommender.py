"""The Python API: a trained model with its encoder, ready for catalogues it has never seen."""

import dataclasses
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from recg_core.base.errors import UserError
from recg_core.encoders import Encoder, hub
from recg_core.models.card import MODEL_FILE
from recg_core.models.trained import TrainedModel
from recg_core.serving.bundle import (
    BUNDLE_FILE,
    SHIPPED,
    BundleCard,
    load_bundle,
    load_from_pipeline,
    save_bundle,
)
from recg_core.serving.catalogue import Catalogue
from recg_core.serving.tables import Table, check_columns_of, read_catalogue

BUNDLE_PATTERNS = ("*.json", "*.safetensors", "README.md")


class Recommender:
    """A trained model with the encoder that it was trained with.

    Make one with `load`; show it a catalogue with `fit_catalogue`.
    """

    def __init__(self, trained: TrainedModel, encoder: Encoder, card: BundleCard) -> None:
        self.trained = trained
        self.encoder = encoder
        self.card = card

    @classmethod
    def load(cls, folder: str | Path | None = None, *, device: str | None = None) -> "Recommender":
        """Read a bundle, or a model of the pipeline (`models/<variant>/<source>/<backbone>`).

        Args:
            folder: None: the bundle that the package carries.
            device: of torch; None: the GPU where there is one.

        Raises:
            UserError: when it is neither, or is incomplete, damaged or of a newer format.
        """
        place = SHIPPED if folder is None else Path(folder)
        if (place / BUNDLE_FILE).is_file():
            return cls(*load_bundle(place, device))
        if (place / MODEL_FILE).is_file():
            return cls(*load_from_pipeline(place, device=device))
        raise UserError(
            f"{place}: holds neither {BUNDLE_FILE} nor {MODEL_FILE}; name a bundle, or a model of "
            "the pipeline (models/<variant>/<source>/<backbone>)"
        )

    @classmethod
    def from_pretrained(
        cls, name: str | Path, *, revision: str | None = None, device: str | None = None
    ) -> "Recommender":
        """Read a bundle from a folder or, as `owner/name`, from the Hugging Face hub.

        Of the hub's files only JSON, safetensors and the model card are downloaded, once.

        Args:
            revision: a branch, tag or commit of the hub; None: `main`, which may move.

        Raises:
            UserError: when there is no such bundle, or as `load` does.
        """
        folder = Path(name).expanduser()
        if folder.is_dir():
            if revision is not None:
                raise UserError(f"{name}: is a folder, which has no revisions")
            return cls.load(folder, device=device)
        if str(name).startswith(("/", ".", "~")) or str(name).count("/") != 1:
            raise UserError(f"{name}: is no folder, and a name on the hub is owner/name")
        place = hub.download(str(name), revision or "main", allow=BUNDLE_PATTERNS)
        if not (place / BUNDLE_FILE).is_file():
            raise UserError(f"model {str(name)!r}: is no bundle: it holds no {BUNDLE_FILE}")
        return cls.load(place, device=device)

    def push_to_hub(
        self, repo_id: str, *, private: bool = False, commit_message: str = "Upload the bundle"
    ) -> str:
        """Put the bundle on the Hugging Face hub, in a repository made if it is missing.

        The token is that of the hub's client: `hf auth login`, or the variable HF_TOKEN.

        Returns:
            The address of the commit.

        Raises:
            UserError: when the encoder is a folder of this machine, the account may not write
                there, or the hub cannot be reached.
        """
        named = [self.card.encoder.get("model", ""), *self.card.encoder.get("adapters", [])]
        if local := [name for name in named if name and Path(name).expanduser().is_dir()]:
            raise UserError(
                f"{local[0]}: is a folder of this machine, where others do not find the encoder; "
                "train with one that has a name on the hub"
            )
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "bundle"
            self.save(folder)
            return hub.upload(folder, repo_id, private=private, message=commit_message)

    def save(self, folder: str | Path, *, license: str | None = None) -> None:
        """Write a bundle.

        Args:
            license: of the weights, such as `mit`; None: as it was named before.

        Raises:
            UserError: when `folder` holds something else, or the model knows its source alone.
        """
        card = self.card if license is None else dataclasses.replace(self.card, license=license)
        save_bundle(Path(folder), self.trained, self.encoder, card)

    def fit_catalogue(
        self,
        items: Table,
        histories: Table | None = None,
        *,
        columns: Mapping[str, str] | None = None,
        cache: str | Path | None = None,
    ) -> "Catalogue":
        """Read and encode the items, and take the histories; nothing is trained.

        Args:
            items: a path, paths, a frame of Polars or pandas, a dictionary of columns, or a list
                of dictionaries.
            histories: as `items`; they say what is popular and are those of `recommend_batch`.
            columns: role -> column where the names are not usual ones: item_id, title, features,
                description; user_id, timestamp.
            cache: a folder for vectors by the content of texts; `~/.cache/recg` unless given.

        Raises:
            UserError: when a table cannot be read, or an item cannot be encoded.
        """
        if histories is not None:
            check_columns_of(histories, columns)
        frame = read_catalogue(items, columns)
        store = default_cache() if cache is None else Path(cache)
        catalogue = Catalogue(self.trained, self.encoder, frame, store)
        if histories is not None:
            catalogue.add_histories(histories, columns=columns)
        return catalogue


def default_cache() -> Path:
    """Where vectors are kept between runs: `recg` below XDG_CACHE_HOME or `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "recg"
