"""Watch: what hubs do to the models that this archive depends on, noticed, written down and told,
and the bytes archived before they are gone.
"""
