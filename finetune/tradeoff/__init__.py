"""What fine-tuning gains on its own classes, against what it costs on all others."""
