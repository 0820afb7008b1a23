"""`kedro serve`: a trained model behind an OpenAI-compatible server."""
