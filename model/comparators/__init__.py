"""The networks of the published table that ours are compared with, one file each."""
