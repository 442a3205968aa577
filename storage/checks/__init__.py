"""Whether a bank is sound: its small files, its shards, and what dead runs left."""
