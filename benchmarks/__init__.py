"""Speed and size, measured against rivals in one run: `python -m benchmarks.NAME [--quick]`."""
