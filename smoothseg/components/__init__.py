"""From an entry point to a loaded component: find the installed plugins, register what they offer, and load it.

Nothing here knows the purpose of a component.

Private: its import paths may change without notice.
"""
