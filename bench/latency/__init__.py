"""How long an event takes from its append to a page, compared with a client on the stream
itself.
"""
