"""Names of the output's formats, for command lines that must not load what writes them."""

TABLE_FORMATS = ("parquet", "csv", "ecsv", "votable")
FILE_FORMATS = ("jsonl", "avro", *TABLE_FORMATS, "desc")
