"""From an image to counts to a certificate: noise, resizing, the base model, votes, draws, and the pipeline.

The guarantee is read here, in `certificates/` and in the certifier's plugin; files, runs and networks stand elsewhere.
"""
