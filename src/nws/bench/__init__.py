"""The benchmarks that `nws bench` runs."""
