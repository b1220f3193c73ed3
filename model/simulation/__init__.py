"""A sky to learn from: schedules, sources, scenes, images, selection, labels."""
