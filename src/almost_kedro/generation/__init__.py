"""Text generation behind one contract: engines, request cache and the worker program."""
