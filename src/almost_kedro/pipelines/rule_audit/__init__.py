"""Rule audit (`make audit`): does each rule of thumb follow from the others?"""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
