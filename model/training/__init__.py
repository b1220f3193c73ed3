"""Training and evaluation of networks on data sets. Nothing here serves alerts."""
