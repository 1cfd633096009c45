"""What this machine has and how it computes: devices, memory, cores, versions, and the doctor that checks them all.

Nothing here decides what is certified.

Private: its import paths may change without notice.
"""
