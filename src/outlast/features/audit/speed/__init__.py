"""How fast an endpoint answers: measured from the chunks of its streams as they arrive."""
