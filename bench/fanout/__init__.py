"""How many subscribers one web process serves, compared with the usual consumer and a lower
bound.
"""
