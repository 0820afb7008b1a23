"""Describes the chat program's work, starts it, and asks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from almost_kedro.contract import Sampling
from almost_kedro.errors import UserError
from almost_kedro.jobs.policies import Policy
from almost_kedro.options.all import Options
from almost_kedro.processes.conversation import STOP, Conversation, converse
from almost_kedro.training.chat_job import Answer, ChatJob, Question, Reply, Speaker
from almost_kedro.training.job import ScoreJob


class RefusalError(UserError):
    """The program does not answer this dialogue; it goes on."""


class Chat:
    """A running chat program."""

    def __init__(self, conversation: Conversation, judges: Sequence[ScoreJob]):
        """Ask by a conversation with the program; `judges` are those of its job."""
        self.conversation, self.judges = conversation, judges

    def ask(
        self,
        policy: str,
        dialogue: str,
        rewards: bool,
        on_text: Callable[[str], None] = lambda text: None,
    ) -> Answer:
        """Let a policy answer; `on_text` gets the answer's text in pieces.

        Raises RefusalError if the program refuses, for one because the dialogue is too long, and
        UserError if it has ended.
        """
        self.conversation.send(Question(speaker=policy, dialogue=dialogue, rewards=rewards))
        while True:
            reply: Reply = self.conversation.receive()
            match reply["kind"]:
                case "piece":
                    on_text(reply["text"])
                case "answer":
                    return reply
                case "refusal":
                    raise RefusalError(reply["message"])

    def stop(self) -> None:
        """End the answer that is being written; what there is of it comes as the answer."""
        self.conversation.send(STOP)


def make_chat_job(
    policies: Sequence[Policy], judges: Sequence[ScoreJob], sampling: Sampling, options: Options
) -> ChatJob:
    """Describe who answers and who rewards; `judges` may be nobody."""
    return ChatJob(
        speakers=[
            Speaker(name=each.name, model=each.model, prefix=each.prefix) for each in policies
        ],
        generation=options.generation,
        sampling=sampling,
        rules=options.rules,
        judges=list(judges),
    )


@contextmanager
def open_chat(job: ChatJob) -> Iterator[Chat]:
    """Start the program, and end it with the block; wait until its models are loaded."""
    name = f"the chat program ({', '.join(each.name for each in job.speakers)})"
    with converse(name, "almost_kedro.training.chat", job.model_dump_json()) as conversation:
        conversation.receive()
        yield Chat(conversation, job.judges)
