"""From a base model to one that answers: conversations and preferences, and what is trained on them."""
