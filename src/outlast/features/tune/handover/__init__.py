"""Larger trainings, handed over to other programs: a folder with all that they need.

`train_script` and `ray_script` are copied into that folder and run there, without outlast.
"""
