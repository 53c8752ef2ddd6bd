"""What benchmarks/labels.py is made of: the data, the contestants, the memory of a run."""
