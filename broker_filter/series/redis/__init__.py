"""The shared series store: many processes, one server of the Redis protocol. Observations enter; series leave."""
