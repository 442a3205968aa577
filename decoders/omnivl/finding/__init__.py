"""Images and clips found by sentences: an index, and searches in two stages."""
