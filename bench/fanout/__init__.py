"""How many subscribers one web process serves, beside the usual consumer and a floor."""
