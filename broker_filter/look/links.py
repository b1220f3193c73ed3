"""Addresses of other sites on which an object can be looked up."""

from typing import NamedTuple
from urllib.parse import quote


class Link(NamedTuple):
    """One page of another service."""

    name: str
    address: str


def links_of(survey: str, object_id: str, position_deg: tuple[float, float] | None) -> tuple[Link, ...]:
    """Brokers' pages of an object by its id, and catalogues' by its position."""
    name = quote(object_id, safe="")
    links = []
    if survey == "ztf":
        links = [
            Link("ALeRCE", f"https://alerce.online/object/{name}"),
            Link("Fink", f"https://fink-portal.org/{name}"),
            Link("Lasair", f"https://lasair-ztf.lsst.ac.uk/objects/{name}/"),
            Link("TNS", f"https://www.wis-tns.org/search?internal_name={name}"),
        ]
    elif survey == "lsst":
        links = [
            Link("ALeRCE", f"https://alerce.online/object/{name}?survey=lsst"),
            Link("Fink", f"https://lsst.fink-portal.org/{name}"),
            Link("Lasair", f"https://lasair.lsst.ac.uk/objects/{name}/"),
        ]
    if position_deg is not None:
        ra, dec = (f"{degrees:.6f}" for degrees in position_deg)
        if survey != "ztf":
            links.append(Link("TNS", f"https://www.wis-tns.org/search?ra={ra}&decl={dec}&radius=3&coords_unit=arcsec"))
        simbad = "https://simbad.cds.unistra.fr/simbad/sim-coo"
        links.append(Link("SIMBAD", f"{simbad}?Coord={ra}+{dec}&CooFrame=ICRS&Radius=5&Radius.unit=arcsec"))
        links.append(Link("Aladin", f"https://aladin.cds.unistra.fr/AladinLite/?target={ra}%20{dec}&fov=0.05"))
    return tuple(links)
