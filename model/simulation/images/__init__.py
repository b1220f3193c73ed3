"""Scenes as stamps with noise, artefacts and subtraction.

A scene, a light curve and a visit enter; science, template and difference stamps with their photometry leave.
Knows no class.
"""
