"""An object's story on one page.

Alerts of some objects enter; what a network saw of each and said after each alert leaves, as a record, a picture or
a table. Knows no Kafka and no server.
"""
