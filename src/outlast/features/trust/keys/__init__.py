"""Keys: which there are, what they sign, and for whom they are pinned in this archive.

Public names: `public.PublicKey`; `signing.open_signer` signs, `verifying.verify` checks;
`pins.Pins` says which keys count.
"""
