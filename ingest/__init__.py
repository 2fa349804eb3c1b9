"""Media in: uploads, the facts of a file, hashes and look-alikes, device keys. Knows nothing of jobs or money."""
