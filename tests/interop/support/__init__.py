"""What the tests with the reference implementation share."""
