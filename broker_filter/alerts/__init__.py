"""Survey packets as calibrated alerts.

Packet bytes and their schemas enter; alerts with flux, errors, past photometry and calibrated stamps leave.
Knows nothing of Kafka, of stored series or of networks.
"""
