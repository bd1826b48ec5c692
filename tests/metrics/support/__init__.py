"""What the metrics' tests share."""
