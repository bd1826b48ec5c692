"""How much a seat costs that follows many quiet streams, and how evenly seats share them."""
