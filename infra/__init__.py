"""Machine room: what every package stands on. Knows nothing of jobs, media, money or workers."""
