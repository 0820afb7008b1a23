"""What all blocks of options have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]
MaxRepetition = Annotated[
    float | None,
    Field(
        ge=0,
        lt=1,
        description="Largest share of an answer's runs of four words that stood before in it "
        "(corrected); null: any",
    ),
]


class Block(BaseModel):
    """A block of options; an unknown name is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
