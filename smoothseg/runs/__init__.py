"""A run over a dataset, from its options to a directory of certificates: plan, preparation, execution, ledger, logs.

`report/` makes the tables and pictures of a run. `cli/` and `api/` start runs.

Private: its import paths may change without notice.
"""
