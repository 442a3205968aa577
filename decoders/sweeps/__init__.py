"""Sweeps: many trainings from one description, compared on validation clips."""
