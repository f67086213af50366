"""A bundle: one folder that holds a trained model and everything needed to use it elsewhere."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from recg_core.base.config import build
from recg_core.base.errors import UserError
from recg_core.base.files import read_sealed_json, replaced_folder, write_sealed_json
from recg_core.base.params import read_params
from recg_core.base.tensors import read_tensors, write_tensors
from recg_core.domains.shards import fingerprint_of, read_manifest
from recg_core.encoders import CorpusEncoder, Encoder, build_encoder, fit_corpus
from recg_core.models.card import PATTERNS_FILE, Origin, read_card
from recg_core.models.device import choose_device
from recg_core.models.patterns import load_patterns, save_patterns
from recg_core.models.tensors import save_tensors, seed_path
from recg_core.models.trained import TrainedModel, load_recommender, load_trained
from recg_core.serving.model_card import CellResult, check_license, render_card

BUNDLE_FILE = "bundle.json"
ENCODER_FILE = "encoder.safetensors"
FORMAT = 1
AGAIN = "copy or export the bundle again"
UNKNOWN = "unknown"  # a licence that nobody named, as the Hugging Face hub calls it
SHIPPED = Path(__file__).parent / "shipped"


@dataclass(frozen=True)
class BundleCard:
    """The content of `bundle.json`.

    Attributes:
        format: of the bundle; a newer one is refused.
        origin: what the model was made of.
        seed: of the training.
        encoder: the row that builds the encoder.
        trained_on: a sentence for people.
        license: of the weights, an identifier of the Hugging Face hub.
        results: what the model reached where it was evaluated.
    """

    format: int
    origin: Origin
    seed: int
    encoder: dict[str, Any]
    trained_on: str
    license: str = UNKNOWN
    results: tuple[CellResult, ...] = ()


class Loaded(NamedTuple):
    """What a bundle holds, in memory."""

    trained: TrainedModel
    encoder: Encoder
    card: BundleCard


def save_bundle(folder: Path, trained: TrainedModel, encoder: Encoder, card: BundleCard) -> None:
    """Write a bundle, its model card included; `bundle.json` comes last.

    Raises:
        UserError: when `folder` holds something else, the model cannot leave its source, or the
            licence is no identifier.
    """
    check_license(card.license)
    if card.origin.spec.variant.by_id:
        raise UserError(f"{trained.label}: a model of item ids knows no other catalogue")
    with replaced_folder(folder, BUNDLE_FILE) as place:
        save_tensors(trained.recommender.state_dict(), seed_path(place, card.seed))
        if trained.patterns is not None:
            clusters = len(trained.patterns.centroids_KD)
            write_sealed_json(place / "patterns" / PATTERNS_FILE, {"clusters": clusters})
            save_patterns(trained.patterns, place / "patterns", card.seed)
        if isinstance(encoder, CorpusEncoder):
            write_tensors(place / ENCODER_FILE, *encoder.state())
        readme = render_card(card.origin, card.encoder, card.trained_on, card.license, card.results)
        (place / "README.md").write_text(readme, encoding="utf-8")
        write_sealed_json(place / BUNDLE_FILE, dataclasses.asdict(card))


def load_bundle(folder: Path, device: str | None = None) -> Loaded:
    """Read a bundle: the model on its device, and an encoder that is ready to encode.

    Raises:
        UserError: when it is of a newer format, incomplete or damaged, or the encoder is another
            than that of the model.
    """
    content = read_sealed_json(folder / BUNDLE_FILE, AGAIN, cached=False)
    if content.get("format") != FORMAT:
        raise UserError(
            f"{folder}: is a bundle of format {content.get('format')}, this version reads "
            f"{FORMAT}; update the package"
        )
    card = build(BundleCard, content, str(folder / BUNDLE_FILE))
    spec, place = card.origin.spec, choose_device(device)
    recommender = load_recommender(spec, folder, card.seed, AGAIN, cached=False).to(place)
    patterns = None
    if spec.variant.patterns is not None:
        found = load_patterns(
            folder / "patterns", card.seed, spec.variant.patterns, recommender.backbone.dim,
            AGAIN, cached=False,
        )  # fmt: skip
        patterns = None if found is None else found.to(place)
    encoder = build_encoder(card.encoder, str(folder))
    if isinstance(encoder, CorpusEncoder):
        encoder.restore(*read_tensors(folder / ENCODER_FILE, AGAIN, cached=False))
    check_encoder(encoder, card.origin, str(folder))
    return Loaded(TrainedModel(recommender, card.origin, str(folder), patterns), encoder, card)


def load_from_pipeline(model: Path, seed: int | None = None, device: str | None = None) -> Loaded:
    """A model where the pipeline left it, `models/<variant>/<source>/<backbone>`.

    The encoder is the row of `params.yaml` that made the embeddings of the source.

    Args:
        seed: the first of the model unless given.

    Raises:
        UserError: when a part is missing or damaged, or no row of `params.yaml` is that encoder's.
    """
    card = read_card(model)
    root = model.resolve().parents[3]
    place = model.resolve().relative_to(root / "models")
    seed = card.seeds[0] if seed is None else seed
    if seed not in card.seeds:
        raise UserError(f"{model}: has no seed {seed}; its seeds are {card.seeds}")
    trained = load_trained(model, root / "patterns" / place, seed, device)
    rows = read_params(root / "params.yaml").section("encoders")
    encoder, row = _encoder_of(card, root, rows)
    variant, _, backbone = place.parts
    domains = f"domain{'s' if len(card.domains) > 1 else ''} {', '.join(card.domains)}"
    said = f"{backbone} as `{variant}` on the {domains}, seed {seed}"
    origin = Origin(card.spec, card.source, card.encoder_fingerprint)
    return Loaded(trained, encoder, BundleCard(FORMAT, origin, seed, row, said))


def _encoder_of(origin: Origin, root: Path, rows: dict[str, Any]) -> tuple[Encoder, dict[str, Any]]:
    """The fitted encoder whose fingerprint a model has, and its row."""
    for name, row in rows.items():
        folder = root / "data" / "embeddings" / name / origin.domains[0]
        if folder.is_dir() and read_manifest(folder).fingerprint == origin.encoder_fingerprint:
            encoder = build_encoder(row, f"encoders.{name}")
            fit_corpus(encoder, root / "data" / "domains")
            check_encoder(encoder, origin, f"encoders.{name}")
            return encoder, row
    raise UserError(
        f"{root / 'params.yaml'}: no row of `encoders` made the embeddings of the model's source "
        f"{origin.source}; run the encode stage again"
    )


def check_encoder(encoder: Encoder, origin: Origin, label: str) -> None:
    """Refuse an encoder whose vectors a model does not know.

    Raises:
        UserError: naming `label`.
    """
    if fingerprint_of(encoder.identity()) != origin.encoder_fingerprint:
        raise UserError(
            f"{label}: its encoder is not the one that the model was trained with (another "
            "version, weights, template or setting); use the same"
        )
