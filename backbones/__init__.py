"""Frozen CLIP towers: weights, taps, cross-frame maps, text. Import its modules; each costs only what it needs."""
