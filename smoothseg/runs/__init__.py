"""A run over a dataset, from its options to a directory of certificates: plan, preparation, execution, ledger, logs.

Tables and pictures of a run stand in `report/`; how a person asks for one, in `cli/` and `api/`.
"""
