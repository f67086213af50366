"""All mistakes of a `params.yaml` that can be known before anything runs, together."""

from collections.abc import Callable
from typing import Any, TypeVar

from recg_core.backbones import BACKBONES
from recg_core.base.config import build, build_kind
from recg_core.base.errors import UserError
from recg_core.base.params import Params
from recg_core.base.sources import domains_of
from recg_core.domains.pool import PoolConfig
from recg_core.domains.preprocess import config_of_domain
from recg_core.embeddings.encode import EncodeConfig
from recg_core.encoders import Encoder, build_encoder
from recg_core.encoders.text import check_placeholders
from recg_core.evaluation.training_free import BaselinesConfig
from recg_core.figures.embedding_figures import FiguresConfig
from recg_core.models.card import require_one_domain
from recg_core.models.variant import VariantConfig
from recg_core.raw.items import TEXT_RULES
from recg_core.raw.readers import READERS, Reader
from recg_core.raw.source import TEXT_ROLES
from recg_core.report.config import ReportConfig
from recg_core.training.config import FusionConfig, TrainConfig, check_seeds
from recg_core.training.generalization import checked_readings
from recg_core.training.losses import LOSSES
from recg_core.training.tuned import model_settings, tuned_rows, variant_row

T = TypeVar("T")
SECTIONS: dict[str, type] = {
    "encode": EncodeConfig,
    "pool": PoolConfig,
    "train": TrainConfig,
    "patterns": FusionConfig,
    "baselines": BaselinesConfig,
    "figures": FiguresConfig,
    "report": ReportConfig,
}


def check_params(params: Params) -> None:
    """Refuse params with which a stage of the grid would fail.

    Raises:
        UserError: with one line for every mistake.
    """
    attempts = Attempts()
    for section, config in SECTIONS.items():
        attempts(params.build, config, section)
    attempts(lambda: check_seeds(params.get("seeds", list[int])))
    encoder = attempts(_encoder, params)
    for domain in attempts(params.get, "grid.domains", list[str]) or ():
        reader = attempts(_reader, params, domain)
        if reader is not None:
            attempts(_check_domain, params, domain, reader, encoder)
    for backbone in attempts(params.get, "grid.backbones", list[str]) or ():
        attempts(_check_backbone, params, backbone)
    for variant in attempts(params.get, "grid.variants", list[str]) or ():
        attempts(_check_variant, params, variant)
        for backbone in attempts(tuned_rows, params, variant) or ():
            attempts(_check_tuned, params, variant, backbone)
    if attempts.mistakes:
        raise UserError("\n".join([f"{len(attempts.mistakes)} mistake(s)", *attempts.mistakes]))


class Attempts:
    """Calls that go on after a mistake, which is noted."""

    def __init__(self) -> None:
        self.mistakes: list[str] = []

    def __call__(self, make: Callable[..., T], *arguments: Any) -> T | None:
        """What `make` returns, or None after its UserError."""
        try:
            return make(*arguments)
        except UserError as error:
            if str(error) not in self.mistakes:
                self.mistakes.append(str(error))
            return None


def _encoder(params: Params) -> Encoder:
    address = f"encoders.{params.get('encoder', str)}"
    return build_encoder(params.section(address), address)


def _reader(params: Params, domain: str) -> Reader:
    address = f"domains.{domain}"
    return build_kind(READERS, params.section(address), address, key="reader")


def _check_domain(params: Params, domain: str, reader: Reader, encoder: Encoder | None) -> None:
    """Refuse what a domain's items or interactions will not have."""
    config = config_of_domain(params.section("preprocess"), domain)
    contents = reader.contents()
    wanted = TEXT_RULES[config.text_rule]
    if wanted and not set(wanted) & set(contents.texts):
        raise UserError(
            f"preprocess.text_rule: {config.text_rule} asks for a text that the items of {domain} "
            f"do not have; theirs are {list(contents.texts)}"
        )
    if encoder is not None:
        # The usual texts are empty where a domain has none.
        unknown = set(check_placeholders(encoder.template)) - {*contents.texts, *TEXT_ROLES}
        if unknown:
            raise UserError(
                f"encoders: the template names {sorted(unknown)}, which the items of {domain} do "
                f"not have; their texts are {list(contents.texts)}"
            )
    if config.min_rating is not None and not contents.has_ratings:
        raise UserError(f"preprocess.min_rating: {domain} has no ratings")
    if not contents.has_interactions:
        raise UserError(
            f"grid.domains: {domain} has no interactions; it can be neither trained on nor "
            "evaluated, its items can be recommended"
        )


def _check_backbone(params: Params, name: str) -> None:
    if name not in BACKBONES:
        raise UserError(f"grid.backbones: '{name}' is none; there are {sorted(BACKBONES)}")
    build(BACKBONES[name], params.section(f"backbones.{name}"), f"backbones.{name}")


def _check_variant(params: Params, name: str) -> None:
    address = f"variants.{name}"
    variant = build(VariantConfig, variant_row(params, name), address)
    build_kind(LOSSES, variant.loss, f"{address}.loss")
    for source in params.get("grid.sources", list[str]):
        if variant.by_id:
            require_one_domain(source, f"grid.variants: {name}")
        if variant.generalization is not None:
            domains = {*domains_of(source), *params.get("pool.domains", list[str])}
            checked_readings(variant.generalization, sorted(domains), address)


def _check_tuned(params: Params, variant: str, backbone: str) -> None:
    address = f"variants.{variant}.tuned"
    if backbone not in BACKBONES:
        raise UserError(f"{address}: '{backbone}' is no backbone; there are {sorted(BACKBONES)}")
    settings = model_settings(params, backbone, params.section(f"backbones.{backbone}"), variant)
    build(BACKBONES[backbone], settings.backbone, f"{address}.{backbone}.backbone")
