"""What a person sees during work: bars on a terminal, lines in a log, times and sizes in words.

It receives events and requests nothing. `cli` and `api` pass it to the code that does the work.

Private: its import paths may change without notice.
"""
