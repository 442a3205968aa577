"""CLIP's image tower trained end to end on labelled videos: Open-VCLIP, and plain fine-tuning."""
