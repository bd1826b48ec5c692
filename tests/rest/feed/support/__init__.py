"""What the tests of the feed endpoint share."""
