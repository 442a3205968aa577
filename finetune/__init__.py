"""Towers trained end to end; so far the decoder on a live tower."""
