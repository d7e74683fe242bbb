"""An archive's second home: a bucket of an object store, or a folder, laid out as an archive is.

Public names: `objects.open_objects` reaches a store, `home.SecondHome` reads and writes what an
archive has there, `source.BucketSource` is that as a source of models.
"""
