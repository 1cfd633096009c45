"""The evidence of one image: the certificate, its file, what follows from its counts again, bounds and metrics.

Everything here is numpy on stored counts; no network, no noise and no run directory is known.
"""
