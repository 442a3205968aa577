"""Pre-training: what is learned from, in which order, by which losses."""
