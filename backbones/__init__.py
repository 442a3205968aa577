"""Frozen CLIP towers: weights, taps, cross-frame maps, text. Import the module you need."""
