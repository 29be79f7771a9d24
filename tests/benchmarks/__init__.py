"""Measurements that are run by hand: what parts of pmd cost beside what else there is. `python -m tests.benchmarks.NAME`."""
