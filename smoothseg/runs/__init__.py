"""A run over a dataset, from its options to a directory of certificates: plan, preparation, execution, ledger, logs.

Tables and pictures of a run are in `report/`; the ways to start one are in `cli/` and `api/`.

Private: its import paths may change without notice.
"""
