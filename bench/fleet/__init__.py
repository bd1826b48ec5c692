"""The cost of a seat that follows many quiet streams, and how evenly seats share them."""
