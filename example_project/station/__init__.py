"""A station's departures, to look behind the scenes with: one event's way from append to page."""
