"""A chat whose rooms are streams."""
