"""The Python API: a trained model with its encoder, ready for catalogues it has never seen."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recg_core.base.errors import UserError
from recg_core.encoders import Encoder
from recg_core.models.card import MODEL_FILE
from recg_core.models.trained import TrainedModel
from recg_core.serving.bundle import (
    BUNDLE_FILE,
    SHIPPED,
    BundleCard,
    load_bundle,
    load_from_pipeline,
    model_card,
    save_bundle,
)
from recg_core.serving.catalogue import Catalogue
from recg_core.serving.tables import Table, read_catalogue


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
        raise UserError(f"{place}: holds neither {BUNDLE_FILE} nor {MODEL_FILE}")

    def save(self, folder: str | Path, cells: Sequence[dict[str, Any]] = ()) -> None:
        """Write a bundle; see `serving.bundle.model_card` for `cells`.

        Raises:
            UserError: when `folder` holds something else, or the model knows its source alone.
        """
        readme = model_card(self.card, list(cells))
        save_bundle(Path(folder), self.trained, self.encoder, self.card, readme)

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
        frame = read_catalogue(items, columns)
        store = default_cache() if cache is None else Path(cache)
        catalogue = Catalogue(self.trained, self.encoder, frame, store)
        if histories is not None:
            catalogue.add_histories(histories, columns=columns)
        return catalogue


def default_cache() -> Path:
    """Where vectors are kept between runs: `recg` below XDG_CACHE_HOME or `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "recg"
