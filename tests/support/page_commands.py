"""The commands and snippets of a page of docs/, as they stand there."""

import re
import shlex

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# What a line that is a command begins with.
PROGRAMS = ("kedro", "printf", "curl", "python", "llama-completion", "llama-server")


def list_commands(page: str) -> list[str]:
    """The shell commands of a page, without comments; a quotation may go over several lines."""
    commands = []
    for language, block in BLOCK.findall(page):
        lines = iter(block.splitlines() if language in ("", "bash", "console", "sh") else [])
        for line in lines:
            if line.startswith(tuple(f"{program} " for program in PROGRAMS)):
                while is_open(line):
                    line += "\n" + next(lines)
                commands.append(re.sub(r"\s+#.*", "", line) if "\n" not in line else line)
    return commands


def is_open(text: str) -> bool:
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return True
    return False


def list_snippets(page: str) -> list[str]:
    return [block for language, block in BLOCK.findall(page) if language == "python"]
