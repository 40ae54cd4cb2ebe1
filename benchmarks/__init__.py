"""`python -m benchmarks`: ratios of interleaved runs in one process, outputs checked, compile time apart."""
