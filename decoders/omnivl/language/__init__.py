"""Texts: their tokens, the text encoder, and the two decoders that look at images and clips."""
