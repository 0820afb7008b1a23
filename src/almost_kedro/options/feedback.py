"""Options of `synthetic_feedback`: prompts, answers, comparisons."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from almost_kedro.options.block import Block, MaxRepetition, Positive, Share
from almost_kedro.options.rules import Rules


class PromptGenerationOptions(Block):
    """Prompt generation (rules 1 to 7)."""

    model: str = Field(description="Name in models.yml")
    n_prompts: Positive = Field(description="Prompts wanted")
    shots: Positive = Field(10, description="Prompts shown in a request")
    round_size: Positive = Field(
        64,
        description="Requests a round; their shots come from the pool as it was before the round",
    )
    max_requests_per_prompt: Positive = Field(
        20, description="Give up after so many requests a wanted prompt"
    )
    temperature: float = Field(1.2, ge=0, description="Divides the logits")
    top_p: Share = Field(0.9, description="Mass of the nucleus")
    max_new_tokens: Positive = Field(64, description="Token limit of a prompt")
    overlap_threshold: Share = Field(
        0.5, description="ROUGE-L F from which a prompt is a duplicate"
    )
    wordpiece: str | None = Field(
        None, description="Lower-cased WordPiece tokenizer, folder or hub id (rule 6, original)"
    )


class AssistantOptions(Block):
    """One assistant: model x demonstrations x shots."""

    model: str = Field(description="Name in models.yml")
    demonstrations: str | None = Field(
        description="X for assets/X_prompt.txt; null: the bare question, as the base model of the "
        "policies gets it",
    )
    shots: Annotated[int, Field(ge=0)] = Field(description="Demonstrations shown")
    max_new_tokens: Positive | None = Field(
        None, description="Own token limit; null: the common one"
    )
    off_topic: bool = Field(
        False,
        description="Generate nothing: take the answers of the same assistant, which is in the "
        "list, too, and exchange them between prompts",
    )

    @model_validator(mode="after")
    def check_shots(self) -> AssistantOptions:
        """Refuse shots of no file."""
        if self.shots and self.demonstrations is None:
            raise ValueError(f"{self.shots} shots, but no demonstrations; name them, or shots: 0")
        return self

    @model_validator(mode="after")
    def check_off_topic_limit(self) -> AssistantOptions:
        """Refuse a token limit of an off-topic assistant, which generates nothing."""
        if self.off_topic and self.max_new_tokens:
            raise ValueError("an off_topic assistant generates nothing; leave max_new_tokens out")
        return self


class ResponseGenerationOptions(Block):
    """Prompted response generation (rules 8 to 13)."""

    assistants: list[AssistantOptions] = Field(min_length=1, description="Who answers every prompt")
    temperature: float = Field(1.0, ge=0, description="Divides the logits")
    top_p: Share = Field(0.9, description="Mass of the nucleus")
    max_new_tokens: Positive = Field(description="Token limit of an answer, equal for all")
    max_repetition: MaxRepetition = None


class ComparisonOptions(Block):
    """Synthetic comparisons (rules 14 to 18)."""

    rubric: list[str | list[str]] = Field(description="Assistants, best first; a nested list ties")
    pairs: Literal["nearest", "all"] = Field(
        "all", description="Compare with the nearest lower answer only (rule 16), or with all"
    )
    length_control: Literal["none", "heuristic", "matched"] = Field(
        "matched",
        description="heuristic: rule 17; matched: pairs of like length, longer chosen in half",
    )
    length_tolerance: Share = Field(
        0.18, description="matched: largest difference, as a share of the longer answer"
    )

    def as_run_by(self, rules: Rules) -> ComparisonOptions:
        """Return these options with the pairs and the length control of a rule set."""
        if rules == "original":
            return self.model_copy(update={"pairs": "nearest", "length_control": "heuristic"})
        return self.model_copy(update={"pairs": "all", "length_control": "matched"})
