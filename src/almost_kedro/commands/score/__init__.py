"""`kedro score`: rewards of any file of dialogues and answers."""
