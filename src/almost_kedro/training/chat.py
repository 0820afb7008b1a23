"""Answers dialogues as the test of policies does, and rewards the answers; `jobs.chat` asks it.

Run by hand: `ALMOST_KEDRO_LIFELINE=1 python -m almost_kedro.training.chat JOB.json`, then a request
a line (see `chat_job`). It ends with its standard input.
"""

from __future__ import annotations

import sys
from functools import cached_property

import torch

from almost_kedro.contract import Request
from almost_kedro.errors import UserError
from almost_kedro.feedback.responses import STOPS, extract_answer
from almost_kedro.generation.embedded import EmbeddedEngine
from almost_kedro.generation.generator import open_embedded
from almost_kedro.generation.number_format import choose_dtype
from almost_kedro.generation.streaming import withhold
from almost_kedro.models.texts import TextEncoder, check_context
from almost_kedro.processes.child import carry_out
from almost_kedro.processes.conversation import Requests
from almost_kedro.training.chat_job import Answer, ChatJob, Piece, Question, Ready, Refusal, Reply
from almost_kedro.training.job import ScoreJob
from almost_kedro.training.score import RewardScorer


class Interrupted(Exception):  # noqa: N818 (the asker wished so)
    """The asker has read enough of an answer."""


class Judge:
    """A reward model that rewards single answers as the scoring program does."""

    def __init__(self, job: ScoreJob):
        """Load it."""
        check_context(job.model, job.max_length, "reward_model.max_length")
        self.encoder = TextEncoder(job.model, job.separator, job.max_length)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.scorer = RewardScorer(job.model, choose_dtype(job.dtype, device), device)

    def reward(self, dialogue: str, answer: str) -> float:
        """Return an answer's reward."""
        [reward] = self.scorer.score([self.encoder.encode(dialogue, answer).ids])
        return reward


class AnswerText:
    """An answer while it is written, as rule 11 leaves it: stripped, and cut at its marks."""

    def __init__(self, requests: Requests):
        """Begin with no text."""
        self.requests = requests
        self.written = self.shown = ""
        self.n_tokens = 0

    def add(self, piece: str) -> None:
        """Reply with what is new; raise Interrupted if the asker wishes so."""
        self.written += piece
        self.n_tokens += 1
        self.show(withhold(self.written, STOPS).strip())
        if self.requests.stopped:
            raise Interrupted

    def show(self, text: str) -> None:
        """Reply with the part of a text that has not been shown."""
        if new := text.removeprefix(self.shown) if text.startswith(self.shown) else "":
            self.shown = text
            self.requests.reply(Piece(kind="piece", text=new))


class Host:
    """The speakers and judges of a job."""

    def __init__(self, job: ChatJob):
        """Load the models of all speakers, each once."""
        self.job = job
        self.speakers = {each.name: each for each in job.speakers}
        models = dict.fromkeys(each.model for each in job.speakers)
        self.engines = {model: open_embedded(model, job.generation.dtype) for model in models}

    @cached_property
    def judges(self) -> list[Judge]:
        """The reward models, loaded when the first reward is asked for."""
        return [Judge(job) for job in self.job.judges]

    def answer(self, question: Question, requests: Requests) -> Answer:
        """Let a speaker answer; raise UserError if the dialogue is too long."""
        speaker, dialogue = self.speakers[question["speaker"]], question["dialogue"]
        engine, request = self.engines[speaker.model], Request(dialogue, speaker.prefix)
        self.check_length(engine, request)
        text = AnswerText(requests)
        try:
            written = engine.stream(request, self.job.sampling, text.add)
        except Interrupted:
            return Answer(
                kind="answer",
                text=text.shown,
                finish_reason="interrupted",
                n_tokens=text.n_tokens,
                rewards=[],
            )
        reason = written.finish_reason
        text.show(extract_answer(written.text, "eos", self.job.rules))
        answer = extract_answer(written.text, reason, self.job.rules)
        judges = self.judges if question["rewards"] else []
        return Answer(
            kind="answer",
            text=answer,
            finish_reason=reason,
            n_tokens=written.n_tokens,
            rewards=[judge.reward(dialogue, answer) for judge in judges],
        )

    def check_length(self, engine: EmbeddedEngine, request: Request) -> None:
        """Refuse a dialogue that leaves no room for an answer."""
        [ids] = engine.encode([request.prefix + request.text])
        new = self.job.sampling.max_new_tokens
        if engine.context is not None and len(ids) + new > engine.context:
            raise UserError(
                f"the dialogue has {len(ids)} tokens (demonstrations included) and an answer may "
                f"have {new}, but the model reads {engine.context}; lower --max-new-tokens"
            )


def run_job(job: ChatJob, requests: Requests) -> None:
    """Load the models, then answer for ever."""
    host = Host(job)
    requests.reply(Ready(kind="ready"))
    for question in requests:
        reply: Reply
        try:
            reply = host.answer(question, requests)
        except UserError as exc:
            reply = Refusal(kind="refusal", message=str(exc))
        requests.reply(reply)


def main(job_file: str) -> int:
    """Carry out a job file; return the exit status, with one line on stderr if it failed."""
    requests = Requests()

    def run(text: str) -> None:
        run_job(ChatJob.model_validate_json(text), requests)

    return carry_out(run, job_file, hear=requests.hear)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
