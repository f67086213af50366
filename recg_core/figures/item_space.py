"""How far apart the items of several domains lie, in numbers: what Figure 3 shows, measured.

Shapes: N items of K domains, D dimensions, P pairs.
"""

import numpy as np

PROBE_FOLDS = 5
UNIFORMITY_SCALE = 2.0  # t of Wang & Isola
TSNE_STEPS = 500  # half of them exaggerate the clusters, the others let them settle
_TINY = 1e-12  # a vector shorter than this has no direction and stays zero


def measure_items(
    items: np.ndarray, domains: np.ndarray, pairs: np.ndarray, seed: int
) -> dict[str, float]:
    """All numbers of item vectors, by the names of their functions.

    Args:
        items: [N, D].
        domains: int [N], the domain of each item; as many items of each.
        pairs: int [P, 2], rows of `items` that should lie close together.
        seed: of the probe's folds.
    """
    return {
        "domain_probe_accuracy": domain_probe_accuracy(items, domains, seed),
        "alignment": alignment(items, pairs),
        "uniformity": uniformity(items),
        "center_distance": center_distance(items, domains),
        "effective_rank": effective_rank(items),
    }


def domain_probe_accuracy(items: np.ndarray, domains: np.ndarray, seed: int) -> float:
    """Accuracy of a logistic regression that tells an item's domain from its vector.

    Cross-validated in 5 shuffled folds over standardised dimensions. With as many items of each of
    K domains, 1/K says that they cannot be told apart, 1 that a plane separates them.

    Raises:
        ValueError: with a single domain, or fewer items in a domain than there are folds.
    """
    # Imported here, since it takes a second that the other numbers need not spend.
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    _, counts = np.unique(domains, return_counts=True)
    if len(counts) < 2 or counts.min() < PROBE_FOLDS:
        raise ValueError(
            f"the probe needs two domains of {PROBE_FOLDS} items at least, got {counts.tolist()}"
        )
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    folds = StratifiedKFold(PROBE_FOLDS, shuffle=True, random_state=seed)
    return float(cross_val_score(probe, items, domains, cv=folds).mean())


def cross_domain_pairs(text: np.ndarray, domains: np.ndarray) -> np.ndarray:
    """Each item and the item of another domain whose text is most similar by cosine, [N, 2].

    Chosen by the texts alone, the pairs are the same for every model.
    """
    directions = unit_rows(text)
    cosine = directions @ directions.T
    cosine[domains[:, None] == domains[None, :]] = -np.inf
    return np.stack([np.arange(len(text)), cosine.argmax(axis=1)], axis=1)


def alignment(items: np.ndarray, pairs: np.ndarray) -> float:
    """Mean squared distance of the pairs' unit vectors: 0 where they coincide (Wang & Isola 2020).

    Read it with `uniformity`: a collapsed space is perfectly aligned.
    """
    directions = unit_rows(items)
    differences = directions[pairs[:, 0]] - directions[pairs[:, 1]]
    return float((differences**2).sum(axis=1).mean())


def uniformity(items: np.ndarray) -> float:
    """Log of the mean over all pairs of exp(-2 d^2), d between unit vectors (Wang & Isola 2020).

    0 for a collapsed space; the lower, the more evenly the vectors cover the sphere.
    """
    from scipy.spatial.distance import pdist

    squared = pdist(unit_rows(items), "sqeuclidean")
    return float(np.log(np.exp(-UNIFORMITY_SCALE * squared).mean()))


def center_distance(items: np.ndarray, domains: np.ndarray) -> float:
    """Mean distance between two domains' mean vectors, in units of the items' spread.

    The spread is the root mean square distance of an item to its own domain's mean; the number
    depends neither on the scale of the vectors nor on their place.
    """
    from scipy.spatial.distance import pdist

    names, rows = np.unique(domains, return_inverse=True)
    values = items.astype(np.float64)
    centers = np.stack([values[rows == k].mean(axis=0) for k in range(len(names))])
    spread = np.sqrt(((values - centers[rows]) ** 2).sum(axis=1).mean())
    return float(pdist(centers).mean() / max(spread, _TINY))


def effective_rank(items: np.ndarray) -> float:
    """Exponential of the entropy of the centred vectors' singular values (Roy & Vetterli 2007).

    From 1, all variance along one line, to D, the same along every direction.
    """
    values = np.linalg.svd(items.astype(np.float64) - items.mean(axis=0), compute_uv=False)
    shares = values[values > values.max() * _TINY] / values.sum() if values.any() else np.ones(1)
    return float(np.exp(-(shares * np.log(shares)).sum()))


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """The rows scaled to length 1, in double precision."""
    values = vectors.astype(np.float64)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), _TINY)


def project_pca(items: np.ndarray) -> np.ndarray:
    """The two directions of largest variance, [N, 2]; signs are fixed, so that it is repeatable."""
    from sklearn.decomposition import PCA

    return PCA(2, svd_solver="full").fit_transform(items.astype(np.float64))


def project_tsne(items: np.ndarray, perplexity: float, seed: int) -> np.ndarray:
    """t-SNE (van der Maaten & Hinton 2008) from a PCA start, [N, 2].

    Raises:
        ValueError: when the perplexity is not below the number of items.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    tsne = TSNE(init="pca", perplexity=perplexity, max_iter=TSNE_STEPS, random_state=seed, n_jobs=1)
    # One thread: the sums of several depend on their timing.
    with threadpool_limits(limits=1):
        return tsne.fit_transform(items.astype(np.float32))
