"""A CLIP evaluated without training: classes by their names, videos by captions and the reverse."""
