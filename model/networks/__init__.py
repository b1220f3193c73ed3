"""The networks, one file each, and what all of them promise.

Pixels, bands, times and photometry enter; embeddings and class logits leave. Know nothing of training, files or
streams.
"""
