"""The embedded series store: one process, one folder. Observations enter; series leave, also after a crash."""
