"""What a person sees while work goes on: bars on a terminal, lines in a log, times and sizes in words.

It is told what happens, and asks for nothing; both front doors hand it in.
"""
