"""A tiny random Llama with two adapters, as MNTP and supervised training would leave them."""

from pathlib import Path
from typing import Any

import torch

from recg_core.encoders.llm2vec import Llm2Vec

MAX_TOKENS, MAX_LENGTH = 40, 64
INSTRUCTION = "Retrieve items like this one:"
SENTENCES = [
    "Red wool scarf with fringes",
    "Title: Guitar strings.\nFeatures: light, bronze.\nDescription: .",
    "a",
    "word " * 300,
    "trailing space  ",
    "  leading space",
    "emoji 🎸🎻 and flags 🇮🇸",
    "مرحبا بالعالم שלום",
    'quotes "and" [INST] brackets',
    "control \x00\x07\x1b[31m\x7f\u200b\u2028 characters\r\n\tin between",
    "many different words " + " ".join(f"word{i}" for i in range(60)),
]


def save_tokenizer(folder: Path) -> int:
    """A byte-level BPE with Llama 3's special tokens, trained on the spot; its size."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"]
    special += ["<|start_header_id|>", "<|end_header_id|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*SENTENCES, INSTRUCTION, "user"], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 0)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=special[0],
        eos_token=special[1],
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)
    return tokenizer.get_vocab_size()


def save_adapter(base: Path, folder: Path, seed: int) -> Path:
    import torch.distributed.tensor
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel

    torch.manual_seed(seed)
    config = LoraConfig(r=4, lora_alpha=16, target_modules=["q_proj", "v_proj", "down_proj"])
    model = get_peft_model(AutoModel.from_pretrained(base), config)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.1)
    model.save_pretrained(folder)
    return folder


def save_models(root: Path) -> dict[str, str]:
    """The folders of the base model and of its adapters, below `root`."""
    from transformers import LlamaConfig, LlamaModel

    size = save_tokenizer(root / "base")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        initializer_range=0.2,
    )
    LlamaModel(config).save_pretrained(root / "base")
    save_adapter(root / "base", root / "mntp", seed=1)
    save_adapter(root / "base", root / "supervised", seed=2)
    return {name: str(root / name) for name in ("base", "mntp", "supervised")}


def ours(folders: dict[str, str], **options: Any) -> Llm2Vec:
    settings: dict[str, Any] = {
        "model": folders["base"],
        "adapters": (folders["mntp"], folders["supervised"]),
        "template": "{title}",
        "chat_template": "none",
        "max_tokens": MAX_TOKENS,
        "max_length": MAX_LENGTH,
        "dtype": "float32",
    }
    return Llm2Vec(**{**settings, **options})
