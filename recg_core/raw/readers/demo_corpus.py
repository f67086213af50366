"""A made-up corpus with a known answer, in the schema of Amazon Reviews 2023.

Every item has one of twelve finishes. The words of a finish are the same in every domain; product
nouns, sentences and style are a domain's own, and its copywriters are fond of the words of two
finishes, which they put on everything: that is the planted domain bias. Users walk through the
finishes in the order of `FINISHES`, in every domain alike: that is the planted pattern. The next
item therefore looks unlike the last one, similarity does not find it, and a rule learnt in one
domain does.
"""

import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recg_core.base.errors import UserError
from recg_core.base.files import atomic_path

# Each finish with the words that go with it. After one finish, users want the next in this list;
# after the last, the first. Neighbours are chosen to look unlike.
FINISHES = {
    "copper": ("burnished", "rosy"),
    "ivory": ("creamy", "pale"),
    "walnut": ("oiled", "woodgrain"),
    "indigo": ("inky", "dyed"),
    "marble": ("polished", "veined"),
    "terracotta": ("earthen", "baked"),
    "frosted": ("translucent", "icy"),
    "brass": ("golden", "gilded"),
    "slate": ("charcoal", "stony"),
    "coral": ("peachy", "blushing"),
    "lacquer": ("glossy", "mirrored"),
    "olive": ("verdant", "muted"),
}
POPULARITY = 0.4  # exponent of the power law of item popularity
MIN_LENGTH, MEAN_LENGTH = 5, 8  # of a user's history
DAY_MS = 86_400_000
FIRST_MS = 1_420_070_400_000  # 2015-01-01
SIGNUP_DAYS = 2_500

Line = dict[str, Any]


@dataclass(frozen=True)
class Vocabulary:
    """The words of one domain. `{finish}`, `{cue}`, `{kind}`, `{noun}` and `{size}` are filled."""

    category: str
    title: str
    kinds: str
    nouns: str
    features: tuple[str, ...]
    opening: str
    fillers: tuple[str, ...]


VOCABULARIES = {
    "garden": Vocabulary(
        category="Patio, Lawn & Garden",
        title="{finish} {kind} {noun}",
        kinds="herb, seedling, orchard, trellis, greenhouse, potting, border, meadow",
        nouns="pruner, trowel, watering can, planter, rake, dibber, hose reel, bird bath, "
        "kneeler, cloche, hand fork, plant label",
        features=(
            "{finish} that stays {cue} through frost and terracotta dust",
            "For {kind} work in baked ground and muted light",
            "{size}&quot; from tip to handle; hangs on any shed wall",
        ),
        opening="This {cue} {noun} in {finish} is at home beside terracotta pots and olive trees.",
        fillers=(
            "Rinse off the soil after weeding &amp; store it dry.",
            "Kind to worms, bulbs and bare hands alike.",
            "Gardeners with clay, chalk or sandy ground asked us for it.",
        ),
    ),
    "kitchen": Vocabulary(
        category="Home & Kitchen",
        title="{noun} for the {kind} Cook, {finish}",
        kinds="pastry, soup, breakfast, noodle, sourdough, supper, dumpling, preserving",
        nouns="whisk, saucepan, ladle, mixing bowl, colander, rolling pin, spice jar, teapot, "
        "cutting board, salt mill, gravy boat, cake stand",
        features=(
            "Oven safe: from pale dough to mirrored icing",
            "{cue} {finish} surface wipes clean of ivory sauce",
            "Holds enough for {size} hungry guests",
        ),
        opening="Our {cue} {finish} {noun} loves ivory napkins and lacquer trays.",
        fillers=(
            "Warm water &amp; a soft sponge are all it needs.",
            "Tested over two hundred recipes by bakers who lick the spoon.",
            "Stacks neatly in a crowded cupboard above the stove.",
        ),
    ),
    "office": Vocabulary(
        category="Office Products",
        title="{kind} {noun} ({finish}, Pack of {size})",
        kinds="desktop, executive, studio, conference, filing, drafting, reception, mailroom",
        nouns="stapler, pen tray, letter opener, paperclip holder, notebook cover, monitor riser, "
        "card index, ruler, document tray, tape dispenser, bookend, desk lamp",
        features=(
            "Fits A4 &amp; letter paper; for veined hands, stony faces",
            "Colour: {finish} ({cue}), goes with slate folders",
            "Supplied as {size} units per carton, assembly not required",
        ),
        opening="{noun}, {finish}, {cue}. Suits slate desks and marble lobbies.",
        fillers=(
            "Non-slip feet protect the workstation.",
            "Meets common requirements for shared workplaces; invoice included.",
            "Keeps memos, receipts and deadlines in order from Monday on.",
        ),
    ),
    "music": Vocabulary(
        category="Musical Instruments",
        title="The {finish} {noun} &amp; Case: {kind} Edition",
        kinds="concert, rehearsal, touring, jazz, folk, chamber, busking, orchestra",
        nouns="guitar stand, capo, metronome, tuning fork, score stand, drumstick, plectrum, "
        "violin rest, tambourine, ukulele strap, kalimba, maraca",
        features=(
            "Play it {cue}, play it {finish}, play it with brass",
            "Weighs {size} ounces, packs flat in the gig bag",
            "Tuned by ear &amp; built like a gilded, woodgrain gramophone",
        ),
        opening="From brass bands to walnut cabinets: a {noun} in {cue} {finish}.",
        fillers=(
            "Every verse, chorus and encore deserves it.",
            "Loved by drummers, fiddlers and whole choirs.",
            "Never rattles, hums or drifts out of pitch.",
        ),
    ),
}
REVIEWS = (("Fine", "Does what it should."), ("Good", "Well made."), ("Great", "Bought another."))


def write_demo(
    folder: Path, *, domain: str, num_users: int, num_items: int, pattern: float, seed: int
) -> None:
    """Write `reviews.jsonl.gz` and `meta.jsonl.gz` of one domain: equal arguments, equal bytes.

    With probability `pattern` a user's next item has the finish that follows the last one's;
    otherwise its finish is arbitrary. Items of a finish differ in popularity by a power law whose
    exponent shrinks with `pattern`: at 0, every item is drawn uniformly and nothing can be learnt.
    The catalogue does not depend on `num_users` or `pattern`. Memory grows with
    `num_users * num_items`.

    A few things are planted that preprocessing has to handle: items without features and
    description, repeated reviews, HTML entities, prices that are null, lines in no order.

    Raises:
        UserError: for an unknown domain or a value out of range.
    """
    _check(domain=domain, num_users=num_users, num_items=num_items, pattern=pattern, seed=seed)
    rng = np.random.default_rng([seed, *domain.encode()])
    finishes = rng.permutation(np.arange(num_items) % len(FINISHES))
    meta = [_item(rng, domain, number, finish) for number, finish in enumerate(finishes)]
    histories = _histories(rng, finishes, num_users, pattern)
    _write_lines(folder / "meta.jsonl.gz", meta)
    _write_lines(folder / "reviews.jsonl.gz", _reviews(rng, domain, histories))


def _check(*, domain: str, num_users: int, num_items: int, pattern: float, seed: int) -> None:
    if domain not in VOCABULARIES:
        raise UserError(f"demo: no domain {domain!r}; valid names are {sorted(VOCABULARIES)}")
    if num_items < 2 * len(FINISHES):
        raise UserError(f"demo: num_items must be {2 * len(FINISHES)} or more, got {num_items}")
    if num_users < 1:
        raise UserError(f"demo: num_users must be 1 or more, got {num_users}")
    if not 0 <= pattern <= 1:
        raise UserError(f"demo: pattern must be a share from 0 to 1, got {pattern}")
    if seed < 0:
        raise UserError(f"demo: seed must be 0 or more, got {seed}")


def _item(rng: np.random.Generator, domain: str, number: int, finish_idx: int) -> Line:
    """One line of metadata."""
    names = list(FINISHES)
    finish = names[finish_idx]
    cues = rng.permutation(FINISHES[finish]).tolist()
    text = VOCABULARIES[domain]
    kind, noun = (str(rng.choice(words.split(", "))) for words in (text.kinds, text.nouns))
    size = int(rng.integers(2, 13))

    def fill(template: str, cue: str) -> str:
        line = template.format(finish=finish, cue=cue, kind=kind, noun=noun, size=size)
        return line[0].upper() + line[1:]

    features = [fill(feature, cues[0]) for feature in text.features]
    description = [fill(text.opening, cues[1]), *rng.choice(text.fillers, 2, replace=False)]
    if rng.random() < 0.3:
        description.append(f"Also sold in {rng.choice(names)}.")
    if rng.random() < 0.1:
        description = []
    if number % 80 == 79:
        features = description = []
    return {
        "main_category": text.category,
        "title": text.title.format(
            finish=finish.title(), kind=kind.title(), noun=noun.title(), size=size
        ),
        "average_rating": round(float(rng.uniform(3, 5)), 1),
        "rating_number": int(rng.integers(5, 500)),
        "features": features,
        "description": [str(paragraph) for paragraph in description],
        "price": None if rng.random() < 0.2 else round(float(rng.uniform(3, 90)), 2),
        "images": [],
        "videos": [],
        "store": f"{domain.title()} Demo Store",
        "categories": [text.category, noun.title()],
        "details": {"Item Weight": f"{size} ounces"},
        "parent_asin": _item_id(domain, number),
        "bought_together": None,
    }


def _item_id(domain: str, number: int) -> str:
    return f"{domain.upper()}-{number:05d}"


def _histories(
    rng: np.random.Generator, finishes: NDArray[np.int64], num_users: int, pattern: float
) -> list[list[int]]:
    """Every user's items, oldest first, without repetition; lengths are geometric.

    All users take a step at once. The draw is an exponential race: each item's clock rings after
    an exponential time with the item's popularity as rate, and the first one is taken. Items of
    the wrong finish start so late that they win only when the right ones are used up.
    """
    lengths = MIN_LENGTH - 1 + rng.geometric(1 / (MEAN_LENGTH - MIN_LENGTH + 1), size=num_users)
    lengths = np.minimum(lengths, len(finishes) // 2)
    popularity = rng.permutation(np.arange(1, len(finishes) + 1) ** (-POPULARITY * pattern))
    used = np.zeros((num_users, len(finishes)), dtype=bool)
    wanted = rng.integers(len(FINISHES), size=num_users)  # by the rule, at the next step
    histories: list[list[int]] = [[] for _ in range(num_users)]
    for step in range(lengths.max()):
        users = np.flatnonzero(lengths > step)
        follows = rng.random(len(users)) < pattern
        clocks = rng.standard_exponential((len(users), len(finishes))) / popularity
        clocks[follows[:, None] & (finishes != wanted[users, None])] += 1e6
        clocks[used[users]] = np.inf
        items = clocks.argmin(axis=1)
        used[users, items] = True
        wanted[users] = (finishes[items] + 1) % len(FINISHES)
        for user, item in zip(users, items, strict=True):
            histories[user].append(int(item))
    return histories


def _reviews(rng: np.random.Generator, domain: str, histories: list[list[int]]) -> list[Line]:
    """The lines of all reviews, shuffled; one in a hundred is repeated some days later."""
    lines = []
    for user, items in enumerate(histories):
        start = FIRST_MS + int(rng.integers(SIGNUP_DAYS * DAY_MS))
        gaps = 1 + rng.exponential(20 * DAY_MS, size=len(items)).astype(np.int64)
        for item, time in zip(items, (start + gaps.cumsum()).tolist(), strict=True):
            lines.append(_review(rng, domain, user, item, time))
            if rng.random() < 0.01:
                lines.append(_review(rng, domain, user, item, time + 3 * DAY_MS))
    return [lines[position] for position in rng.permutation(len(lines))]


def _review(rng: np.random.Generator, domain: str, user: int, item: int, time: int) -> Line:
    opinion, votes, variant = rng.integers([len(REVIEWS), 4, 10]).tolist()
    title, text = REVIEWS[opinion]
    item_id = _item_id(domain, item)
    return {
        "rating": 3.0 + opinion,
        "title": title,
        "text": text,
        "images": [],
        "asin": f"{item_id}-XL" if variant == 0 else item_id,
        "parent_asin": item_id,
        "user_id": f"{domain.upper()}-U{user:06d}",
        "timestamp": time,
        "helpful_vote": votes,
        "verified_purchase": variant != 1,
    }


def _write_lines(path: Path, lines: Iterable[Line]) -> None:
    """Write gzipped JSON lines; a file name or time in the header would change the bytes."""
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    with (
        atomic_path(path) as temporary,
        temporary.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as stream,
    ):
        stream.write(text.encode())
