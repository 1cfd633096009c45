"""From an image to counts to a certificate: noise, geometry, the base model, votes, draws, and the pipeline.

To read the guarantee, read this, `certificates/` and the certifier's plugin; files, runs and networks are elsewhere.

Private: its import paths may change without notice.
"""
