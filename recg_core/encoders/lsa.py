"""Latent semantic analysis: TF-IDF and truncated SVD, an encoder without any download."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from recg_core.base.errors import UserError
from recg_core.base.files import sha256_json
from recg_core.encoders.base import ENCODER_VERSION, Advance
from recg_core.encoders.text import check_placeholders

logger = logging.getLogger(__name__)

_TOKEN_PATTERN = r"(?u)\b\w+\b"
# Letters and marks of scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, Japanese
# kana, and the characters of Chinese and Japanese.
_SPACELESS = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ecf\u0edc-\u0edf\u1000-\u103f\u1050-\u108f"
    "\u1780-\u17d3\u3005\u3041-\u3096\u309d\u309e\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_RUN = re.compile(f"[{_SPACELESS}]+")
_RUN_OR_WORD = re.compile(rf"(?P<run>[{_SPACELESS}]+)|(?:(?![{_SPACELESS}])\w)+")
_NGRAMS = (2, 3)  # characters of a run that count as one word
_RANDOM_STATE = 0
_SMALLEST_NORM = 1e-6


class Lsa:
    """Unit vectors in the space of the `dim` leading singular directions of a text corpus.

    x = V^T tfidf(text), then x / |x| (Deerwester et al. 1990), with tf = 1 + log count. All domains
    share one space, so the corpus is the texts of `fit_domains`, whichever domain is encoded. It is
    taken as a sorted set: neither order nor repetition changes a vector.

    Words are what spaces and punctuation separate. Where the corpus has scripts that do without
    spaces, such as Chinese, Japanese and Thai, every two and every three neighbouring characters of
    these count as a word.

    A text without a known word has no direction of its own; it gets that of the corpus mean, and
    the log says how many do.
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
        self._has_runs = False
        self._model: _FittedLsa | None = None

    def fit(self, texts: Sequence[str]) -> None:
        """Take the corpus; the decomposition itself waits for the first text to encode."""
        self._corpus = sorted({text for text in texts if text})
        self._corpus_sha256 = sha256_json(self._corpus)
        self._has_runs = _have_runs(self._corpus)
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
        self._has_runs = _have_runs(header["words"])
        self._model = _FittedLsa(
            header["words"], arrays["idf"], arrays["directions"], arrays["mean"]
        )

    def identity(self) -> dict[str, Any]:
        """Everything that can change a vector, the corpus included."""
        ngrams = {"ngrams": list(_NGRAMS)} if self._has_runs else {}
        return ngrams | {
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
        vectors, unknown = self._fitted().transform(texts)
        if unknown:
            logger.warning(
                "lsa: %d of %d texts hold no word of the texts of %s; they all get one vector, the "
                "mean direction",
                unknown,
                len(texts),
                ", ".join(self.fit_domains),
            )
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
        self._vectorizer = _vectorizer(words, _have_runs(words))
        self._vectorizer.idf_ = idf_V

    def transform(self, texts: Sequence[str]) -> tuple[np.ndarray, int]:
        """Unit vectors, float32 [len(texts), dim], and how many of them are the mean direction."""
        if not texts:  # which scikit-learn refuses
            return np.empty((0, len(self.directions_DV)), dtype=np.float32), 0
        vectors = _project(self._vectorizer.transform(texts), self.directions_DV)
        unknown = ~vectors.any(axis=1)
        vectors[unknown] = self.mean_D
        return vectors.astype(np.float32), int(unknown.sum())


def _fit(corpus: list[str], dim: int) -> _FittedLsa:
    """The decomposition of a corpus.

    Raises:
        UserError: when the corpus has too few different words or texts for `dim`.
    """
    # scikit-learn takes a second to import, and a run that reuses every shard needs none of it.
    from sklearn.utils.extmath import randomized_svd, svd_flip
    from threadpoolctl import threadpool_limits

    vectorizer = _vectorizer(None, _have_runs(corpus))
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


def _vectorizer(words: list[str] | None, has_runs: bool) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    reading = {"analyzer": _words_of} if has_runs else {"token_pattern": _TOKEN_PATTERN}
    return TfidfVectorizer(**reading, sublinear_tf=True, vocabulary=words)


def _have_runs(texts: Iterable[str]) -> bool:
    """Whether some text has characters of a script without spaces."""
    return any(_RUN.search(text) for text in texts)


def _words_of(text: str) -> list[str]:
    """The words of a text, and for a run of characters without spaces its n-grams."""
    words = []
    for match in _RUN_OR_WORD.finditer(text.lower()):
        found = match.group()
        if match.group("run") is None or len(found) == 1:
            words.append(found)
        else:
            words += [found[i : i + n] for n in _NGRAMS for i in range(len(found) - n + 1)]
    return words


def _project(weights: Any, directions_DV: np.ndarray) -> np.ndarray:
    """Unit vectors, and 0 for texts without a known word."""
    vectors = np.asarray(weights @ directions_DV.T)
    norms = np.linalg.norm(vectors, axis=1)
    known = norms > _SMALLEST_NORM
    vectors[known] /= norms[known, None]
    vectors[~known] = 0.0
    return vectors
