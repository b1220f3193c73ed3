"""What a running service bears: kills, replicas, a night, lookers-on, memory that should level off."""
