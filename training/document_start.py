"""What stands before a document's first token: in our training, nothing. An exported model says so in its
configuration, and is asked so.
"""

DOCUMENT_START = "neo_document_start"
"""Entry of an exported model's ``config.json``; its value is ``nothing``."""
NOTHING = "nothing"


def starts_from_nothing(config: object) -> bool:
    """Whether a model's configuration says that documents began with nothing before them."""
    return getattr(config, DOCUMENT_START, None) == NOTHING
