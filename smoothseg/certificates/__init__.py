"""The evidence for one image: the certificate, its file, the recheck of its verdicts, bounds and metrics.

Everything here is numpy on stored counts; nothing knows a network, noise or a run directory.

Private: its import paths may change without notice.
"""
