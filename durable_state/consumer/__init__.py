"""The loop: reads, materializes and publishes. It alone composes transport, materializer and feed, and opens the transaction."""
