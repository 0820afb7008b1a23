"""What a run will cost, before it: requests, tokens, seconds and memory of each program."""
