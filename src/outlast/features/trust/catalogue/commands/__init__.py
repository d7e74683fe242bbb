"""``outlast catalogue``: making catalogues, and following them."""
