"""Latent semantic analysis: TF-IDF and truncated SVD, an encoder without any download."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recg_core.base.errors import UserError
from recg_core.base.files import sha256_json
from recg_core.encoders.base import ENCODER_VERSION, Advance
from recg_core.encoders.text import check_placeholders

_TOKEN_PATTERN = r"(?u)\b\w+\b"
_RANDOM_STATE = 0
_SMALLEST_NORM = 1e-6


class Lsa:
    """Unit vectors in the space of the `dim` leading singular directions of a text corpus.

    x = V^T tfidf(text), then x / |x| (Deerwester et al. 1990), with tf = 1 + log count. All domains
    share one space, so the corpus is the texts of `fit_domains`, whichever domain is encoded. It is
    taken as a sorted set: neither order nor repetition changes a vector.

    A text without a known word has no direction of its own; it gets that of the corpus mean.
    """

    libraries: tuple[str, ...] = ("scikit-learn", "numpy", "scipy")

    def __init__(self, *, dim: int, template: str, fit_domains: tuple[str, ...]) -> None:
        """Keep the settings.

        Raises:
            UserError: when one of them is invalid.
        """
        check_placeholders(template)
        if dim < 1:
            raise UserError(f"dim: expected 1 or more, got {dim}")
        if not fit_domains:
            raise UserError("fit_domains: name at least one domain whose texts span the space")
        self.template = template
        self.fit_domains = fit_domains
        self._dim = dim
        self._corpus: list[str] | None = None
        self._corpus_sha256 = ""
        self._model: _FittedLsa | None = None

    def fit(self, texts: Sequence[str]) -> None:
        """Take the corpus; the decomposition itself waits for the first text to encode."""
        self._corpus = sorted({text for text in texts if text})
        self._corpus_sha256 = sha256_json(self._corpus)
        self._model = None

    def state(self) -> tuple[dict[str, np.ndarray], Any]:
        """What the corpus has become, as arrays and JSON values.

        Raises:
            UserError: as `encode` does.
        """
        model = self._fitted()
        arrays = {"directions": model.directions_DV, "mean": model.mean_D, "idf": model.idf_V}
        return arrays, {"words": model.words, "corpus_sha256": self._corpus_sha256}

    def restore(self, arrays: Mapping[str, np.ndarray], header: Any) -> None:
        """Take what `state` gave in the place of a corpus."""
        self._corpus_sha256 = header["corpus_sha256"]
        self._model = _FittedLsa(
            header["words"], arrays["idf"], arrays["directions"], arrays["mean"]
        )

    def identity(self) -> dict[str, Any]:
        """Everything that can change a vector, the corpus included."""
        return {
            "encoder_version": ENCODER_VERSION,
            "kind": "lsa",
            "dim": self._dim,
            "template": self.template,
            "token_pattern": _TOKEN_PATTERN,
            "random_state": _RANDOM_STATE,
            "fit_domains": list(self.fit_domains),
            "corpus_sha256": self._fitted_sha256(),
        }

    def encode(self, texts: Sequence[str], advance: Advance | None = None) -> np.ndarray:
        """The vectors of `texts`, float32 [len(texts), dim], each of norm 1.

        Raises:
            UserError: when the corpus has too few different words or texts for `dim`.
        """
        vectors = self._fitted().transform(texts)
        if advance is not None:
            advance(len(texts))
        return vectors

    def _fitted_sha256(self) -> str:
        assert self._corpus_sha256, "fit comes before identity and encode"
        return self._corpus_sha256

    def _fitted(self) -> "_FittedLsa":
        if self._model is None:
            assert self._corpus is not None, "fit comes before identity and encode"
            self._model = _fit(self._corpus, self._dim)
        return self._model


class _FittedLsa:
    """The vocabulary, weights and singular directions of a corpus."""

    def __init__(
        self, words: list[str], idf_V: np.ndarray, directions_DV: np.ndarray, mean_D: np.ndarray
    ) -> None:
        self.words = words
        self.idf_V = idf_V
        self.directions_DV = directions_DV
        self.mean_D = mean_D
        self._vectorizer = _vectorizer(words)
        self._vectorizer.idf_ = idf_V

    def transform(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors, float32 [len(texts), dim]."""
        if not texts:  # which scikit-learn refuses
            return np.empty((0, len(self.directions_DV)), dtype=np.float32)
        vectors = _project(self._vectorizer.transform(texts), self.directions_DV)
        vectors[~vectors.any(axis=1)] = self.mean_D
        return vectors.astype(np.float32)


def _fit(corpus: list[str], dim: int) -> _FittedLsa:
    """The decomposition of a corpus.

    Raises:
        UserError: when the corpus has too few different words or texts for `dim`.
    """
    # scikit-learn takes a second to import, and a run that reuses every shard needs none of it.
    from sklearn.utils.extmath import randomized_svd, svd_flip
    from threadpoolctl import threadpool_limits

    vectorizer = _vectorizer(None)
    try:
        weights = vectorizer.fit_transform(corpus)
    except ValueError as error:
        raise UserError(f"lsa: the texts of fit_domains hold no word ({error})") from error
    if dim > min(weights.shape):
        raise UserError(
            f"lsa: dim {dim} is more than the {weights.shape[0]} texts or the "
            f"{weights.shape[1]} words of fit_domains allow; lower dim or add domains"
        )
    # One thread: the order of floating-point sums must not depend on the number of cores.
    with threadpool_limits(limits=1):
        left, _, directions = randomized_svd(
            weights, n_components=dim, n_iter=7, random_state=_RANDOM_STATE
        )
    # The sign of a direction is free: its largest component is to be positive.
    _, directions_DV = svd_flip(left, directions, u_based_decision=False)
    mean = _project(weights, directions_DV).mean(axis=0)
    words = vectorizer.get_feature_names_out().tolist()
    return _FittedLsa(words, vectorizer.idf_, directions_DV, mean / np.linalg.norm(mean))


def _vectorizer(words: list[str] | None) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(token_pattern=_TOKEN_PATTERN, sublinear_tf=True, vocabulary=words)


def _project(weights: Any, directions_DV: np.ndarray) -> np.ndarray:
    """Unit vectors, and 0 for texts without a known word."""
    vectors = np.asarray(weights @ directions_DV.T)
    norms = np.linalg.norm(vectors, axis=1)
    known = norms > _SMALLEST_NORM
    vectors[known] /= norms[known, None]
    vectors[~known] = 0.0
    return vectors
