"""The networks, their data, their training and the simulated sky: everything that knows torch, nothing of a broker."""
