"""Alerts through the broker and back as classifications, on a core of the service's own."""
