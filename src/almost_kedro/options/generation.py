"""Options of generation: which engine runs the models, and servers."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from almost_kedro.options.block import Block, Positive


class ServerOptions(Block):
    """One OpenAI-compatible server (engine openai, and a judge on servers)."""

    url: str = Field(description="Base of its API, up to and including /v1")
    model: str = Field(description="Name in models.yml of what it serves")
    served_as: str | None = Field(None, description="What the server calls it; null: the same")
    key: str | None = Field(
        None, description="Name of its API key below `servers` in credentials.yml; null: no key"
    )
    concurrency: Positive = Field(64, description="Requests under way at once")
    timeout: float = Field(600, gt=0, description="Seconds after which a request has failed")

    @field_validator("url")
    @classmethod
    def check_url(cls, url: str) -> str:
        """Refuse what is no URL, or has a secret in it: options are logged."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("give a URL such as http://host:8000/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("give the URL without user, password or query; name a `key` instead")
        return url.rstrip("/")


class GenerationOptions(Block):
    """How text is generated, whatever it is for."""

    engine: Literal["embedded", "vllm", "openai"] = Field(
        "embedded", description="What runs the model"
    )
    servers: list[ServerOptions] = Field(
        [],
        description="Where requests are sent by the openai engine, and by whatever engine to a "
        "judge on servers; several may serve one model",
    )
    max_refused_share: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Stop when servers refuse more than this share of the requests (status 400, "
        "413 or 422), over 100 of them at least; fewer are dropped and entered into the ledger",
    )
    tensor_parallel: Positive = Field(1, description="GPUs that share one model (vllm engine)")
    replicas: Positive | Literal["auto"] = Field(
        1,
        exclude_if=lambda replicas: replicas == 1,
        description="Workers that run one model side by side (embedded, vllm), each with GPUs of "
        "its own, or with its part of the cores; auto: as many as there are GPUs for",
    )
    dtype: Literal["auto", "bfloat16", "float32"] = Field(
        "auto", description="Number format; auto: bfloat16 where the processor is faster with it"
    )

    def on_servers(self) -> GenerationOptions:
        """Return the options of requests to servers, whatever engine runs the other models.

        The dtype here is not the servers' own, so a change of it must not repeat their requests.
        """
        return self.model_copy(update={"engine": "openai", "dtype": "auto", "replicas": 1})

    @model_validator(mode="after")
    def check_replicas(self) -> GenerationOptions:
        """Refuse replicas of what servers run."""
        if self.engine == "openai" and self.replicas != 1:
            raise ValueError(
                f"replicas is {self.replicas}, but servers run the models; set it to 1, and name "
                "several `servers` of one model"
            )
        return self
