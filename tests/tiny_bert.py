"""A randomly initialised tiny BERT with a word tokenizer, bare or as a sentence encoder."""

from pathlib import Path
from typing import Any

import torch

CORPUS = [
    "red wool scarf",
    "red cotton scarf",
    "blue wool hat",
    "blue cotton hat",
    "steel frying pan",
    "iron frying pan",
    "steel soup pot",
    "iron soup pot",
]


def save_bert(folder: Path, layers: int = 2) -> Path:
    """Save model and tokenizer, which knows the words of `CORPUS`, and give the folder."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted({w for t in CORPUS for w in t.split()})]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=32
    )
    torch.manual_seed(0)
    model = BertModel(
        BertConfig(
            vocab_size=len(words),
            hidden_size=16,
            num_hidden_layers=layers,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=32,
        )
    )
    fast.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def save_sentence_encoder(
    folder: Path, pooling: str = "mean", *, layers: int = 2, dense: bool = False, **options: Any
) -> Path:
    """Save it with the card of a sentence encoder, and give the folder.

    Args:
        dense: a random layer after pooling.
        options: `prompts` and `default_prompt_name` of the card.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules.dense import Dense
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    body = Transformer(str(save_bert(folder.with_name(folder.name + "-bare"), layers)))
    parts: list[Any] = [body, Pooling(body.get_embedding_dimension(), pooling)]
    if dense:
        torch.manual_seed(1)
        parts.append(Dense(body.get_embedding_dimension(), 12))
    SentenceTransformer(modules=parts, device="cpu", **options).save(
        str(folder), create_model_card=False
    )
    return folder
