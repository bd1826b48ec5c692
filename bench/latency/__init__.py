"""How long an event takes from its append to a page, beside a client on the stream itself."""
