"""`kedro publish`: a checkpoint or the comparisons of a run to the Hugging Face hub."""
