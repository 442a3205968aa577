"""The embedded default: a drawn world, a tiny CLIP trained on its stills, and the whole way to a report."""
