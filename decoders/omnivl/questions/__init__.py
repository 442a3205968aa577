"""Questions about images and clips: files of them, answers, learning to answer."""
