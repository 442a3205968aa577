"""Where a bank lies: a folder or a bucket, behind one small set of operations."""
