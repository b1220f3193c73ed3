"""The stream: alert bytes in, classifications out."""
