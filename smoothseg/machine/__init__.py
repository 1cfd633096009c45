"""What this machine has and how it computes: devices, memory, cores, versions, and the doctor that looks at them all.

Nothing here decides what is certified.
"""
