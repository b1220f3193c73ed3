"""Stamps of ZTF, real and simulated: their noise, stars and features, and whether trees tell them apart."""
