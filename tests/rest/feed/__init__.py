"""The feed endpoint, as clients of the protocol meet it."""
