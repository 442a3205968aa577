"""Parts of a training loop that decoders and finetune share; knows nothing of banks, clips or models."""
