"""selma teaches a text-to-image model to follow its prompts, without human labels."""

__version__ = "0.1.0"
