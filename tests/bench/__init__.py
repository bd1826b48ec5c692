"""The benchmark itself: that it runs, checks its contestants, and writes what docs show."""
