"""A labelled set of image series on disk: Arrow files that map into memory, truth apart, a manifest beside them.

Layout of a data set's folder::

    manifest.json        recipe, seed, version, survey, classes, counts, checksums
    series-00000.arrow   Arrow IPC file, one row per object, record batches of a few objects (read by memory map)
    truth.parquet        one row per object: everything a network must not see
"""
