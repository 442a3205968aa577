"""Bank to decoders: batches from the bank, the EVL model, training, evaluation."""
