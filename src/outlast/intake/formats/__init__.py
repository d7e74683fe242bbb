"""What a file is by its content, as far as it matters before another program opens it: pickles run
code when they are loaded, also inside of archives. Nothing is ever loaded here.

Public names: `unsafe.find_unsafe` looks at a file, `allowed.AllowedUnsafe` knows which ones the
operator allows nevertheless.
"""
