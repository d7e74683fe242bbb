"""Who has a model: hubs, mirrors, nodes and swarms are asked, and their answers compared by
digest.
"""
