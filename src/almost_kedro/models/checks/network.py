"""Checks a configuration, and the names and shapes of the weights; no weights are read."""

from __future__ import annotations

import re
import tempfile
from functools import partial
from typing import Any

from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    __version__,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from almost_kedro.contract import ModelFolder
from almost_kedro.errors import UserError
from almost_kedro.models.checks.job import Findings
from almost_kedro.models.checks.reading import explain, read
from almost_kedro.models.files import CONFIG, GENERATION_CONFIG, shorten


def check_network(model: ModelFolder, raw: dict[str, Any], found: Findings) -> int | None:
    """Check a network; return how many tokens have an embedding.

    `raw` is its config.json. `found` gets what does not forbid every use. Raises UserError if the
    architecture is not known, or if the weights do not fit it.
    """
    config = read_config(model, raw)
    check_pad_id(config)
    if reason := explain_missing_head(config):
        found.refusals["reward"] = reason
    quantised = raw.get("quantization_config") or raw.get("compression_config")
    if quantised:
        refuse_quantised(quantised, found)
        rows: int | None = getattr(config.get_text_config(), "vocab_size", None)
        return rows
    return fit_weights(model, found)


def read_config(model: ModelFolder, raw: dict[str, Any]) -> Any:
    """Read a configuration; raise UserError if its architecture is unknown or writes no text."""
    kind, code = str(raw.get("model_type")), raw.get("auto_map")
    if kind not in CONFIG_MAPPING and not model.trust_remote_code and code:
        raise UserError(
            f"its architecture ({kind!r}) is code in its folder (auto_map in {CONFIG}), which is "
            "not run; read it, and set trust_remote_code: true in models.yml if you trust it"
        )
    if kind not in CONFIG_MAPPING and not code:
        raise UserError(
            f"model_type in {CONFIG} is {raw.get('model_type')!r}, which transformers "
            f"{__version__} does not know; give a model of another architecture, or mend the file"
        )
    folder, trusted = model.folder, model.trust_remote_code
    config = read(
        f"its {CONFIG} can't be read",
        partial(AutoConfig.from_pretrained, folder, trust_remote_code=trusted),
    )
    own = trusted and "AutoModelForCausalLM" in (code or {})
    encoder = kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(config, "is_decoder", False)
    both = getattr(config, "is_encoder_decoder", False)
    if both or encoder:
        sort = "an encoder-decoder" if both else "an encoder"
        raise UserError(
            f"{kind!r} is {sort}, and a decoder is needed; give a causal language model"
        )
    if type(config) not in AutoModelForCausalLM._model_mapping and not own:
        raise UserError(
            f"transformers has no causal language model for {kind!r}; give another model"
        )
    return config


def check_pad_id(config: Any) -> None:
    """Refuse a pad id without an embedding: no network can be built with it."""
    config = config.get_text_config()
    pad, rows = getattr(config, "pad_token_id", None), getattr(config, "vocab_size", None)
    if pad is not None and rows is not None and not -rows <= pad < rows:
        raise UserError(
            f"{CONFIG} names {pad} as pad_token_id, and vocab_size is {rows}; set pad_token_id to "
            "null there, or to the id of a token"
        )


def explain_missing_head(config: Any) -> str | None:
    """Say why there is no reward model of an architecture; None if there is."""
    if type(config) in AutoModelForSequenceClassification._model_mapping:
        return None
    return (
        f"transformers has no sequence classification for {config.model_type!r}, so it can't be a "
        "reward model; choose another model"
    )


def refuse_quantised(described: dict[str, Any], found: Findings) -> None:
    """Refuse quantised weights for the embedded engine and for training, which do not read them."""
    method = described.get("quant_method", "unknown method")
    reason = (
        f"its weights are quantised ({method}), which generation.engine: embedded and training do "
        "not read; give the model that it was made from"
    )
    found.refusals |= {"embedded": reason, "reward": reason, "policy": reason}


def fit_weights(model: ModelFolder, found: Findings) -> int:
    """Compare the weights' names and shapes with the network's; return its number of embeddings.

    Raises UserError if weights are missing, or do not fit.
    """
    network, info = read(
        "transformers can't build the network",
        lambda: AutoModelForCausalLM.from_pretrained(
            model.folder,
            device_map="meta",
            use_safetensors=True,
            trust_remote_code=model.trust_remote_code,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        ),
    )
    if other := sorted(info["mismatched_keys"]):
        name, there, wanted = other[0]
        raise UserError(
            f"its weights do not fit {CONFIG}: {name} is {tuple(there)}, and "
            f"{tuple(wanted)} is expected ({len(other)} such); give files of one model"
        )
    if missing := sorted(info["missing_keys"]):
        raise UserError(
            f"weights are missing and would be drawn at random: {shorten(missing)}; fetch the "
            f"model again, or mend {CONFIG} if that describes another one"
        )
    if left := sorted(info["unexpected_keys"]):
        known = {re.sub(r"\d+", "N", name) for name, _ in network.named_parameters()}
        if more := [name for name in left if re.sub(r"\d+", "N", name) in known]:
            raise UserError(
                f"{CONFIG} describes a smaller network than its weights are of, which have "
                f"{shorten(more)}; give files of one model"
            )
        found.warnings.append(
            f"weights that {CONFIG} has no place for are left out: {shorten(left)}"
        )
    check_saving(network, model, found)
    return int(network.get_input_embeddings().weight.shape[0])


def check_saving(network: Any, model: ModelFolder, found: Findings) -> None:
    """Find out whether the model can be saved once it is fine-tuned."""
    assert model.folder
    with tempfile.TemporaryDirectory() as folder:
        try:
            network.config.save_pretrained(folder)
            network.generation_config.save_pretrained(folder)
        except ValueError as exc:
            own = (model.folder / GENERATION_CONFIG).is_file()
            file = GENERATION_CONFIG if own else CONFIG
            found.refusals["policy"] = (
                f"{file} can't be saved with a fine-tuned model ({explain(exc)}); set do_sample: "
                "true there, or take out what only sampling reads (temperature, top_p, top_k)"
            )
