"""OmniVL end to end: an image tower that learns to see time, with the heads that banks train."""
