"""The main job played over HTTP: a buyer's script, workers' phones and a webhook receiver, none of which knows the server."""
