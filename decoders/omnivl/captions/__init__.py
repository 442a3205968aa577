"""Captions of images and clips, and how good they are."""
