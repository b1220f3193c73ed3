"""Shipped weights on real ZTF alerts: ``python -m benchmarks.real_ztf``; each file says first what is its door."""
