"""Avro bytes as plain Python values of known fields.

Messages in Confluent frames or object containers enter; the fields that were asked for leave. Knows no survey.
"""
