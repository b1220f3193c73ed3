"""Kinds of files and of members of archives by their names; letters of any case."""

ALERT_SUFFIXES = (".avro", ".ocf")  # of files within folders and archives; a file that is named itself may have any
COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")  # behind those of an alert or a tar
TAR_SUFFIXES = (".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".tzst")
REFUSED_SUFFIXES = (".zip", ".7z", ".rar")  # archives that are not read, and said to be


def looks_like_alerts(name: str) -> bool:
    """Whether a file of a folder is looked into, if only to say that it is refused."""
    return is_alert(name) or is_tar(name) or is_refused(name)


def is_alert(name: str) -> bool:
    """Whether something of this name is taken for alerts, compressed or not."""
    return _uncompressed(name).endswith(ALERT_SUFFIXES)


def is_tar(name: str) -> bool:
    """Whether something of this name is taken for a tar archive, compressed or not."""
    return _uncompressed(name).endswith(TAR_SUFFIXES)


def is_refused(name: str) -> bool:
    """Whether something of this name is an archive of a kind that is not read."""
    return name.lower().endswith(REFUSED_SUFFIXES)


def _uncompressed(name: str) -> str:
    name = name.lower()
    for suffix in COMPRESSED_SUFFIXES:
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return name


def as_text(name: str) -> str:
    """A name as text that any format can hold; bytes that are none of UTF-8 are written as escapes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
