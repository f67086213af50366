"""Loading tokenizers, models and adapters, every weight of them.

This module imports torch, transformers and peft; the encoders import it at the first text only.
"""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import PreTrainedModel

from recg_core.base.errors import UserError
from recg_core.encoders.base import Dtype
from recg_core.encoders.hub import resolve

# A head of BERT-like models, which many checkpoints lack and nothing here reads.
_UNUSED = "pooler."


def encoder_device() -> torch.device:
    """CUDA where there is one, else Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def load_tokenizer(name: str) -> Any:
    """The fast tokenizer of the model `name`.

    Raises:
        UserError: when there is none.
    """
    folder = resolve(name)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder,
            trust_remote_code=False,
            clean_up_tokenization_spaces=False,  # of decoding, which nobody does here
        )
    except (OSError, ValueError) as error:
        raise UserError(
            f"model {name!r}: {folder} has no tokenizer that loads ({error})"
        ) from error
    if not tokenizer.is_fast:
        raise UserError(f"model {name!r}: needs a fast tokenizer (tokenizer.json)")
    return tokenizer


def dtype_option(dtype: Dtype) -> dict[str, Any]:
    """The option of transformers that loads weights as `dtype`, without a copy in float32."""
    # transformers 5 renamed the first and made the second the default.
    if int(transformers.__version__.split(".")[0]) >= 5:
        return {"dtype": getattr(torch, dtype)}
    return {"torch_dtype": getattr(torch, dtype), "low_cpu_mem_usage": True}


def load_model(
    name: str, dtype: Dtype, *, folder: Path | None = None, **options: Any
) -> PreTrainedModel:
    """The bare model `name`, in evaluation mode, on the CPU; `options` go to transformers.

    Args:
        folder: that holds it, where it is not the whole of what `name` names.

    Raises:
        UserError: when there is none with safetensors weights, the installed transformers does not
            know its architecture, or some of its weights are missing or of another shape, so that
            they would be random.
    """
    folder = folder or resolve(name)
    _check_known(name, folder)
    options |= dtype_option(dtype)
    try:
        model, info = transformers.AutoModel.from_pretrained(
            folder,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            **options,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"model {name!r}: {folder} holds no model that loads ({error})") from error
    # Weights of another shape are not reported by every version; they stay without a value.
    empty = {key for key, weight in model.named_parameters() if weight.is_meta}
    random = {key for key in empty.union(info["missing_keys"]) if not key.startswith(_UNUSED)}
    if random:
        raise UserError(
            f"model {name!r}: {_some(random)} missing from the weights in {folder} or of another "
            "shape, and would be random; get the files anew"
        )
    model.config.use_cache = False  # every text is read once: a key-value cache is only memory
    return model.eval()


def _check_known(name: str, folder: Path) -> None:
    """Refuse a model that is newer than the installed transformers."""
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError):
        return  # which loading reports
    if kind not in transformers.CONFIG_MAPPING:
        raise UserError(
            f"model {name!r}: is a {kind!r} model, which transformers {transformers.__version__} "
            "does not know; a newer one may, which Python 3.13 and later install"
        )


def merge_adapter(model: PreTrainedModel, name: str) -> PreTrainedModel:
    """Merge the LoRA adapter `name` into the weights of `model`.

    Raises:
        UserError: when it is no adapter, its weights are not exactly those that its configuration
            asks for, or it changes nothing.
    """
    folder = resolve(name)
    # Without this import peft 0.18 and later fails beside transformers 4.44.
    import torch.distributed.tensor  # noqa: F401
    from peft import PeftModel, get_peft_model_state_dict
    from peft.utils.save_and_load import load_peft_weights

    try:
        found = load_peft_weights(str(folder), device="cpu", use_safetensors=True)
        adapted = PeftModel.from_pretrained(model, folder)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"adapter {name!r}: {folder} does not load onto the model ({error})") from (
            error
        )
    # peft only warns when weights are missing, and a LoRA without weights has B = 0: no effect.
    wanted = get_peft_model_state_dict(adapted)
    if missing := wanted.keys() - found.keys():
        raise UserError(
            f"adapter {name!r}: {_some(missing)} missing from the weights in {folder}; it is an "
            "adapter of another model, or its files are damaged"
        )
    if unknown := found.keys() - wanted.keys():
        raise UserError(f"adapter {name!r}: {_some(unknown)} in {folder} fit no layer of the model")
    if not any(bool(weight.any()) for key, weight in wanted.items() if "lora_B" in key):
        raise UserError(f"adapter {name!r}: changes nothing, so it was never trained")
    return adapted.merge_and_unload()


def _some(names: Collection[str]) -> str:
    return f"{len(names)} weight(s) ({', '.join(sorted(names)[:3])}{', ...' * (len(names) > 3)})"
