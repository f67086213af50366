"""A bundle: one folder that holds a trained model and everything needed to use it elsewhere."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

BUNDLE_FILE = "bundle.json"
ENCODER_FILE = "encoder.safetensors"
FORMAT = 1
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
    """

    format: int
    origin: Origin
    seed: int
    encoder: dict[str, Any]
    trained_on: str


def save_bundle(
    folder: Path, trained: TrainedModel, encoder: Encoder, card: BundleCard, readme: str
) -> None:
    """Write a bundle; `bundle.json` comes last.

    Raises:
        UserError: when `folder` holds something else, or the model cannot leave its source.
    """
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
        (place / "README.md").write_text(readme, encoding="utf-8")
        write_sealed_json(place / BUNDLE_FILE, dataclasses.asdict(card))


def load_bundle(
    folder: Path, device: str | None = None
) -> tuple[TrainedModel, Encoder, BundleCard]:
    """Read a bundle: the model on its device, and an encoder that is ready to encode.

    Raises:
        UserError: when it is of a newer format, incomplete or damaged, or the encoder is another
            than that of the model.
    """
    remedy = "copy or export the bundle again"
    content = read_sealed_json(folder / BUNDLE_FILE, remedy)
    if content.get("format") != FORMAT:
        raise UserError(
            f"{folder}: is a bundle of format {content.get('format')}, this version reads "
            f"{FORMAT}; update the package"
        )
    card = build(BundleCard, content, str(folder / BUNDLE_FILE))
    spec, place = card.origin.spec, choose_device(device)
    recommender = load_recommender(spec, folder, card.seed).to(place)
    patterns = None
    if spec.variant.patterns is not None:
        dim = recommender.backbone.dim
        patterns = load_patterns(folder / "patterns", card.seed, spec.variant.patterns, dim)
    encoder = build_encoder(card.encoder, str(folder))
    if isinstance(encoder, CorpusEncoder):
        encoder.restore(*read_tensors(folder / ENCODER_FILE, remedy))
    check_encoder(encoder, card.origin, str(folder))
    moved = None if patterns is None else patterns.to(place)
    return TrainedModel(recommender, card.origin, str(folder), moved), encoder, card


def load_from_pipeline(
    model: Path, seed: int | None = None, device: str | None = None
) -> tuple[TrainedModel, Encoder, BundleCard]:
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
    variant, source, backbone = place.parts
    said = f"{backbone} as `{variant}` on the domain {source}, seed {seed}"
    origin = Origin(card.spec, card.source, card.encoder_fingerprint)
    return trained, encoder, BundleCard(FORMAT, origin, seed, row, said)


def _encoder_of(origin: Origin, root: Path, rows: dict[str, Any]) -> tuple[Encoder, dict[str, Any]]:
    """The fitted encoder whose fingerprint a model has, and its row."""
    for name, row in rows.items():
        folder = root / "data" / "embeddings" / name / origin.source
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


def model_card(card: BundleCard, cells: list[dict[str, Any]]) -> str:
    """The README of a bundle, Markdown.

    Args:
        cells: metrics of the model on targets: target, protocol, metric, value, low, high, and
            the value of the best training-free row.
    """
    variant = card.origin.spec.variant
    reads = "item texts and observed histories" if variant.reads_histories else "item texts"
    lines = [
        "# A recommender for catalogues that it has never seen",
        "",
        f"Trained: {card.trained_on}. Encoder: `{card.encoder['kind']}`, fingerprint "
        f"`{card.origin.encoder_fingerprint[:16]}…`. Of a new catalogue it reads {reads}; nothing "
        "is trained there.",
        "",
        "```python",
        "from recg_core import Recommender",
        "",
        'shop = Recommender.load("this/folder").fit_catalogue("items.csv", "histories.csv")',
        'shop.recommend(["an item id", "another"], k=10)',
        "```",
        "",
    ]
    if cells:
        lines += [
            "Zero-shot results, means over test users with 95 % bootstrap intervals:",
            "",
            "| target | metric | this model | best training-free row |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {c['target']} | {c['metric']} | {c['value']:.4f} ({c['low']:.4f} to "
            f"{c['high']:.4f}) | {c['training_free']:.4f} |"
            for c in cells
        ]
        lines.append("")
    lines += [
        "Limits: it ranks by likeness of texts to a user's history; it knows no prices, stock or "
        "images, and texts in languages that the encoder does not know mean nothing to it.",
        "",
        "Licence of the weights: that of the project unless the data it was trained on say "
        "otherwise.",
        "",
    ]
    return "\n".join(lines)
