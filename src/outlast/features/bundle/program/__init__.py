"""What a bundle carries of outlast itself: wheels of it, of its engine and of all that they need,
their hashes, and the script that installs them where there is no network.
"""
